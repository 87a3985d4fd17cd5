"""What the limiter knows of an endpoint that has moved, or is asked at several addresses at once: told as one."""

from dataclasses import replace

from workers.llm.limits.states import EndpointState, by_place

HERE = EndpointState(
    name="default (org/m (it))",
    breaker="closed",
    pace=5.0,
    learned=False,
    in_flight=4,
    allowed=100,
    retried=3,
    limited=2,
    failed=7,
    waited_s=1.5,
    paused_s=0.0,
    away_s=0.0,
    unasked_s=0.1,
)
PLACE = ("default", "org/m (it)")


def test_an_endpoint_is_told_by_its_name_and_its_model():
    other = replace(HERE, name="default (n)")
    assert by_place([HERE, other]) == {PLACE: HERE, ("default", "n"): other}
    assert list(by_place([replace(HERE, name="judge")])) == [("judge", "")]


def test_what_is_asked_at_two_addresses_is_added_up_and_the_worst_breaker_is_told():
    there = replace(HERE, breaker="probing", in_flight=1, away_s=0.0, paused_s=7.0, learned=True)
    for states in ([HERE, there], [there, HERE]):
        (one,) = by_place(states).values()
        assert (one.breaker, one.in_flight, one.pace, one.paused_s, one.learned) == ("probing", 5, 10.0, 7.0, True)
        assert (one.allowed, one.retried, one.limited, one.failed, one.waited_s) == (200, 6, 4, 14, 3.0)


def test_an_address_that_nobody_asks_any_more_says_nothing_of_the_one_that_took_its_place():
    former = replace(HERE, breaker="probing", in_flight=0, unasked_s=600.0)
    one = by_place([former, HERE])[PLACE]
    assert (one.breaker, one.pace, one.allowed) == ("closed", 5.0, 200)
    assert by_place([former]) == {PLACE: former}
