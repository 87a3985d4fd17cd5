"""The pieces of the faulty endpoint by themselves: plan, limits, bursts, journal, options."""

from dataclasses import replace
from pathlib import Path

import pytest

from workers.llm.scripted.counts import Counts
from workers.llm.scripted.faults import Fault, SeededPlan
from workers.llm.scripted.journal import Journal
from workers.llm.scripted.limits import Bucket, Limits, Quota, Window, spoken
from workers.llm.scripted.options import parse, script_of
from workers.llm.scripted.server import Script
from workers.llm.scripted.weather import Bursts, Outage, Spell


def test_faults_come_in_their_shares_and_are_the_same_again():
    plan = SeededPlan(seed=3, latency_s=0.1, fail_share=0.1, hang_share=0.05, malformed_share=0.2)
    fates = [plan.fate(f"body {i}", 0) for i in range(4000)]
    assert fates == [plan.fate(f"body {i}", 0) for i in range(4000)]
    assert sum(fate.status == 500 for fate in fates) == pytest.approx(400, rel=0.2)
    assert sum(fate.hang for fate in fates) == pytest.approx(200, rel=0.25)
    assert sum(fate.malformed is not None for fate in fates) == pytest.approx(800, rel=0.2)
    assert all(0.05 <= fate.delay_s <= 0.15 for fate in fates)
    assert plan.fate("body 0", 0) != plan.fate("body 0", 1)


def test_the_bucket_admits_its_rate_after_its_burst():
    now = [0.0]
    bucket = Bucket(rate=10, burst=5, clock=lambda: now[0])
    assert [bucket.take() for _ in range(5)] == [0.0] * 5
    assert bucket.take() == pytest.approx(0.1)
    admitted = 0
    for _ in range(1000):
        now[0] += 0.01
        admitted += bucket.take() == 0
    assert admitted == pytest.approx(100, abs=1)


def test_a_tokens_bucket_admits_what_is_larger_than_it_and_then_waits():
    now = [0.0]
    bucket = Bucket(rate=10, burst=100, clock=lambda: now[0])
    assert bucket.take(150) == 0.0
    assert bucket.take(10) == pytest.approx(6.0)
    bucket.give_back(150)
    assert bucket.take(100) == 0.0


def test_a_quota_is_whole_again_after_its_period():
    now = [100.0]
    quota = Quota(2, 60.0, clock=lambda: now[0])
    assert [quota.take(), quota.take()] == [0.0, 0.0]
    now[0] += 20
    assert quota.take() == pytest.approx(40.0)
    now[0] += 40
    assert quota.take() == 0.0


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0004, "1ms"), (0.12, "120ms"), (1.5, "1.5s"), (360, "6m0s"), (3723.5, "1h2m3.5s")]
)
def test_a_reset_is_spoken_as_headers_do(seconds: float, said: str):
    assert spoken(seconds) == said


def test_peaks_are_of_any_second_not_of_the_clocks():
    now = [0.9]
    window = Window(clock=lambda: now[0])
    for at in (0.9, 1.1, 1.5, 1.95, 3.0):
        now[0] = at
        window.mark()
    assert (window.peak, window.now()) == (3, 1)


def test_latencies_have_their_percentiles():
    slow = SeededPlan(seed=1, latency_s=0.1, latency_p99_s=1.0)
    delays = sorted(slow.fate(f"body {i}", 0).delay_s for i in range(4000))
    assert delays[2000] == pytest.approx(0.1, rel=0.1) and delays[3960] == pytest.approx(1.0, rel=0.25)
    fixed = SeededPlan(latency_s=0.1, fixed=True, token_s=0.02)
    assert {fixed.fate(f"body {i}", 0) for i in range(9)} == {Fault(delay_s=0.1, token_s=0.02)}


def test_one_share_does_not_move_the_others():
    def usages(**more: float) -> list[str | None]:
        plan = SeededPlan(seed=2, wrong_usage_share=0.2, **more)  # type: ignore[arg-type]
        return [plan.fate(f"body {i}", 0).usage for i in range(500)]

    assert usages() == usages(injection_share=0.5, hostile_share=0.3)
    assert sum(usage is not None for usage in usages()) == pytest.approx(100, rel=0.3)


def test_bursts_come_once_in_each_stretch_at_a_seeded_place():
    bursts = Bursts(every_s=60, for_s=10, seed=4)
    begins = [bursts.window(index)[0] - 60 * index for index in range(20)]
    assert len(set(begins)) == 20 and all(0 <= begin <= 50 for begin in begins)
    begin, end = bursts.window(3)
    inside = {bursts.status(begin + 0.1, f"body {i}", 1) for i in range(60)}
    assert inside == {500, 502, 503, 529}
    assert {bursts.status(at, "body", 1) for at in (begin - 0.01, end)} == {None}
    half = replace(bursts, share=0.5)
    assert sum(half.status(begin, f"body {i}", 1) is None for i in range(400)) == pytest.approx(200, rel=0.2)
    assert len({half.status(begin, "body", i) is None for i in range(20)}) == 2, "a retry draws another lot"


def test_a_journal_forgives_a_line_that_was_cut_off(tmp_path: Path):
    path = tmp_path / "journal"
    path.write_text("paid aa /v1/chat/completions 3 5\nsent aa\npaid bb /v1/chat/completions 1 1\npaid cc /v1/ch")
    journal = Journal(path)
    counts = Counts(journal).as_json()
    assert (counts["bodies"], counts["spoiled_by"], counts["tokens_out"]) == ({"aa": 1, "bb": 1}, {"killed": 1}, 6)
    journal.write(("paid", "dd", "/v1/completions", 1, 1), ("sent", "dd"))
    journal.close()
    again = Journal(path)
    assert Counts(again).as_json()["paid_total"] == 3
    again.close()


def test_options_of_the_command():
    options = parse(["--seed", "4", "--latency", "50", "--key", "k", "--model", "a", "--model", "b", "--rate", "20"])
    script = script_of(options)
    assert (script.seed, script.models, script.key) == (4, ("a", "b"), "k")
    assert script.limits == Limits(rate=20.0)
    assert script.plan == SeededPlan(seed=4, latency_s=0.05)
    assert "canary" not in repr(Script(key="canary"))


def test_options_of_trouble():
    given = (
        "--latency 100 --latency-p99 900 --status-share 400=0.1,503=0.2 --spell 502@1+2 --dead-from 9 --dead-for 120"
    )
    script = script_of(parse([*given.split(), "--burst-every", "60", "--burst-for", "5", "--daily-quota", "7"]))
    assert script.plan == SeededPlan(latency_s=0.1, latency_p99_s=0.9, status_shares={400: 0.1, 503: 0.2})
    assert script.forecast.spells == (Spell(status=502, from_s=1, for_s=2),)
    assert script.forecast.outages == (Outage(from_s=9, for_s=120),)
    assert script.forecast.bursts == Bursts(every_s=60, for_s=5)
    assert script.limits is not None and script.limits.daily_quota == 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--fail-share 0.6 --half-share 0.5", "add up to more than 1"),
        ("--fail-share 1.5", "between 0 and 1"),
        ("--fail-share nan", "between 0 and 1"),
        ("--status-share 200=0.5", "not a status from 400"),
        ("--status-share 400", "invalid"),
        ("--spell 503", "invalid"),
        ("--dead-from 3", "needs its --dead-for"),
        ("--burst-every 3", "go together"),
        ("--burst-every 3 --burst-for 4", "longer"),
        ("--latency-p99 5", "above 0"),
        ("--daily-quota -1", "negative"),
        ("--host 10.0.0.7", "needs --key"),
    ],
)
def test_senseless_options_are_refused(given: str, said: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        parse(given.split())
    assert ended.value.code == 2 and said in capsys.readouterr().err
