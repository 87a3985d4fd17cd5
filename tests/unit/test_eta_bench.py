"""The arithmetic of `make bench-eta`: what its gates look at, and what stands on the page."""

import pytest

pytest.importorskip("benchmarks", reason="benchmarks stand in the checkout and are in no wheel")
pytest.importorskip("psutil", reason="the extra `local` is not installed")

from benchmarks.eta import Judged, Look, judge, page

TOTAL_S = 100.0


def looks(factor: float, unknown_until_s: float = 0.0) -> list[Look]:
    """Twice a second: so many times the time that was left."""
    return [
        Look(at_s=n / 2, left_s=None if n / 2 < unknown_until_s else (TOTAL_S - n / 2) * factor) for n in range(200)
    ]


def judged(factor: float, unknown_until_s: float = 0.0) -> Judged:
    return judge("kind", looks(factor, unknown_until_s), TOTAL_S)


def test_an_eta_that_is_right_holds_and_one_a_quarter_off_does_not_at_the_first_tenth():
    assert [gate.value for gate in judged(1.0).gates] == pytest.approx([0, 0])
    begin, end = judged(1.25).gates
    assert begin.value == pytest.approx(0.25) and not begin.holds
    assert end.value < 0.25  # of the whole run, and less and less


def test_nothing_said_at_the_first_tenth_is_short_whatever_comes_later():
    late = judged(1.0, unknown_until_s=12)
    assert not any(gate.holds for gate in late.gates)
    assert late.known == late.looks - 4
    assert all(gate.holds for gate in judged(1.0, unknown_until_s=9).gates)


def test_the_page_says_for_each_run_what_was_said_and_what_was_left():
    told = page([judged(1.25)], "on a machine of this test")
    assert "on a machine of this test" in told
    assert "| kind | 100 | 180 of 180 | 112.5 / 90.0 |" in told
    assert "| eta_kind_at_first_tenth | 0.25 | 0.2 | short |" in told
