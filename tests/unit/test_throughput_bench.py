"""The arithmetic of `make bench`: what is called a slot's use, what a gate says, what stands on the page."""

import pytest

pytest.importorskip("benchmarks", reason="benchmarks stand in the checkout and are in no wheel")

from benchmarks.throughput.figures import BARE, ENDPOINT, OURS, Cell, Measured
from benchmarks.throughput.gates import all_gates
from benchmarks.throughput.report import page
from benchmarks.throughput.texts import question, write_seeds

TARGET = Cell(workers=2, slots=64, latency_s=0.1)
MINUTE = Cell(workers=1, slots=128, latency_s=1.0)


def measured(system: str, cell: Cell, rate: float, *, seconds: float = 60.0, **more: object) -> Measured:
    return Measured(system=system, cell=cell, seconds=seconds, calls=round(rate * seconds), **more)  # type: ignore[arg-type]


def verdicts(*found: Measured, scaling: tuple[Measured, ...] = ()) -> dict[str, bool]:
    return {gate.name: gate.holds for gate in all_gates(found, scaling)}


def test_slots_are_all_busy_when_each_has_a_call_at_the_endpoint_all_the_time():
    assert measured(OURS, MINUTE, 128).use == pytest.approx(1.0)
    assert measured(OURS, TARGET, 640).use == pytest.approx(0.5)


def test_the_endpoint_is_no_part_of_what_a_call_costs_us():
    one = measured(OURS, TARGET, 100, cpu_s={"worker": 12.0, "postgres": 6.0, ENDPOINT: 60.0})
    assert one.own_ms == pytest.approx(3.0)
    assert one.ms(ENDPOINT) == pytest.approx(10.0)


def test_a_rival_is_beaten_only_at_its_best():
    ours = measured(OURS, TARGET, 520)
    slow, fast = measured("Rival 1", TARGET, 300), measured("Rival 1", TARGET, 530)
    assert verdicts(ours, slow)["times_rival_1"]
    assert not verdicts(ours, slow, fast)["times_rival_1"]
    assert "times_bare_client" not in verdicts(ours, measured(BARE, TARGET, 900))


def test_slots_must_be_busy_for_long_and_an_idle_one_shows():
    assert verdicts(measured(OURS, MINUTE, 122))["slots_busy_1x128_1s"]
    assert not verdicts(measured(OURS, MINUTE, 120))["slots_busy_1x128_1s"]
    assert "slots_busy_1x128_1s" not in verdicts(measured(OURS, MINUTE, 128, seconds=10))


@pytest.mark.parametrize("unrecorded", [1, -1])
def test_one_answer_that_the_ledger_lacks_or_has_too_many_is_short(unrecorded):
    assert not verdicts(measured(OURS, TARGET, 600, unrecorded=unrecorded))["answers_not_in_the_ledger"]


def test_the_largest_worker_is_the_one_that_counts():
    small, large = (measured(OURS, TARGET, 600, worker_bytes=size) for size in (100_000_000, 251_000_000))
    assert not verdicts(small, large)["worker_mb"]


def test_four_workers_are_held_against_one():
    one, four = (measured(OURS, Cell(workers=n, slots=16, latency_s=1.0), 15.5 * n * share) for n, share in SCALED)
    assert verdicts(scaling=(one, four)) == {"answers_not_in_the_ledger": True, "four_workers_over_one": True}


SCALED = ((1, 1.0), (4, 0.91))


def test_the_page_holds_every_gate_and_figure_and_says_what_it_was_measured_on():
    found = [measured(OURS, TARGET, 512, unrecorded=0), measured("Rival 1", TARGET, 77, note="of its own")]
    gates = all_gates(found)
    told = page(found, [], gates, "2026-01-02 on 2 cores")
    assert all(gate.name in told for gate in gates)
    assert "2026-01-02 on 2 cores" in told and "of its own" in told
    assert "| 512 |" in told and "| 77 |" in told


def test_no_two_seeds_or_questions_are_the_same(tmp_path):
    lines = write_seeds(tmp_path / "a.jsonl", 500, "a").read_text().splitlines()
    others = write_seeds(tmp_path / "b.jsonl", 500, "b").read_text().splitlines()
    assert len({*lines, *others}) == 1000
    assert question("1-1") != question("1-2")
