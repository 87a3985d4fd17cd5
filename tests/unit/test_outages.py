"""When an endpoint is down: a pure decision over what was noted, who complains, and who has answered."""

import pytest

from db.notices import how_long
from db.records import Outage
from orchestrator.outages import KINDS, due, judge, missed, patience_s
from workers.llm import errors
from workers.llm.errors import EndpointAway, RetriesSpent, RetryLater
from workers.llm.sorting import sort_error

PATIENCE = {"judge": 300.0, "default": 300.0}


def outage(since_s: float, missed_s: float | None = None, *, told: bool = False) -> Outage:
    return Outage(since_s=since_s, missed_s=since_s if missed_s is None else missed_s, told=told)


def test_who_is_first_complained_of_is_noted_and_counted_from_there():
    noted = missed({}, ["judge"], now_s=50, patience=PATIENCE)
    assert noted == {"judge": outage(50)}
    again = missed(noted, ["judge", "default"], now_s=60, patience=PATIENCE)
    assert again == {"judge": outage(50, 60), "default": outage(60)}


@pytest.mark.parametrize("told", [False, True])
def test_who_is_complained_of_no_more_is_forgotten_after_a_while(told: bool):
    noted = {"judge": outage(0, 40, told=told)}
    assert missed(noted, [], now_s=339, patience=PATIENCE) == noted
    assert missed(noted, [], now_s=340, patience=PATIENCE) == {}


def test_however_seldom_somebody_looks_an_endpoint_that_is_still_complained_of_is_not_forgotten():
    assert missed({"judge": outage(0)}, ["judge"], now_s=9_000, patience={"judge": 5}) == {"judge": outage(0, 9_000)}


def test_the_ledger_is_asked_of_those_complained_of_now_and_for_long():
    noted = {"judge": outage(0, 300), "default": outage(1, 300), "quiet": outage(0, 299)}
    assert due(noted, ["judge", "default"], now_s=300, patience=PATIENCE) == ["judge"]


def test_an_endpoint_that_may_take_long_to_answer_is_waited_for_longer():
    noted = {"judge": outage(0, 100), "slow": outage(0, 100)}
    patience = {"judge": 300.0, "slow": patience_s(900, 600)}
    assert patience["slow"] == 1200
    assert due(noted, ["judge", "slow"], now_s=300, patience=patience) == ["judge"]
    assert missed(noted, [], now_s=400, patience=patience) == {"slow": outage(0, 100)}
    assert due(noted, ["judge", "slow"], now_s=1200, patience=patience) == ["judge", "slow"]


def test_who_has_answered_nobody_is_announced_once():
    noted = {"judge": outage(0, 310), "default": outage(200, 310)}
    judged, down = judge(noted, ["judge"], {}, now_s=310)
    assert down == ["judge"]
    assert judged == {"judge": outage(310, 310, told=True), "default": outage(200, 310)}
    assert judge(judged, ["judge"], {}, now_s=620) == ({**judged, "judge": outage(620, 310, told=True)}, [])


@pytest.mark.parametrize("told", [False, True])
def test_who_has_answered_is_counted_from_its_answer_and_may_be_told_again(told: bool):
    judged, down = judge({"judge": outage(0, 310, told=told)}, ["judge"], {"judge": 100.0}, now_s=310)
    assert down == []
    assert judged == {"judge": outage(210, 310)}
    assert due(judged, ["judge"], now_s=509, patience=PATIENCE) == []
    assert due(judged, ["judge"], now_s=510, patience=PATIENCE) == ["judge"]
    assert judge(judged, ["judge"], {}, now_s=510)[1] == ["judge"]


def test_every_error_that_puts_a_task_off_is_a_complaint_or_known_to_be_none():
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, RetryLater)}
    families = {"RetryLater", "AnswerLost", "NoLeave"}
    assert kinds - families - set(KINDS) == {"RateLimited", "LimitReached", "LedgerAway"}
    assert set(KINDS) <= kinds


@pytest.mark.parametrize("name", ["judge", "the judge's", "a (b)"])
def test_a_complaint_names_the_endpoint_as_its_configuration_does(name: str):
    sorted_out = [sort_error(cause, name) for cause in (TimeoutError(), OSError("reset"), ValueError("no JSON"))]
    for error in (EndpointAway(name, 9), RetriesSpent(name, 9), *sorted_out):
        assert type(error).__name__ in KINDS
        assert str(error).startswith(f"endpoint {name!r} ")


def test_an_endpoint_is_told_long_before_the_run_would_have_stalled():
    assert patience_s(900) == patience_s(900, 120) == 300


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (300, "5 minutes"),
        (200, "3.3 minutes"),
        (1000, "16.7 minutes"),
        (200_000, "3333.3 minutes"),
        (60, "1 minutes"),
        (50, "50 seconds"),
        (2, "2 seconds"),
        (0.2, "0.2 seconds"),
    ],
)
def test_how_long_is_said_shortly_and_never_as_nothing(seconds: float, said: str):
    assert how_long(seconds) == said
