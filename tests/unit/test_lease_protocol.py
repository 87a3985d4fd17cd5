"""Every interleaving of two workers, sweep and scheduler obeys the laws; every known mistake breaks one, and is caught.

That the model moves as `db.tasks` does is shown on the real database, in tests/properties/test_leases.py.
"""

from random import Random

import pytest

from tests.unit.lease_protocol import (
    APPLIED_TWICE,
    LOST,
    MAX_ATTEMPTS,
    PAID_TWICE,
    STALE_WON,
    Rules,
    explore,
    is_over,
    walk,
)

A_PAYS = ("A looks into the ledger", "A announces", "A is answered")
B_PAYS = ("B looks into the ledger", "B announces", "B is answered")
A_IS_RELIEVED = ("A claims", "the lease runs out", "the sweep passes")

MISTAKES = {
    "a claim keeps the old token": (
        Rules(token_grows=False),
        STALE_WON,
        (*A_IS_RELIEVED, "B claims", "A gives back"),
    ),
    "a write names no lease": (
        Rules(fence="nothing"),
        STALE_WON,
        (*A_IS_RELIEVED, "B claims", "A gives back"),
    ),
    "the count of attempts is the fence, and the sweep counts one back": (
        Rules(fence="attempts", sweep_forgives=True),
        STALE_WON,
        (*A_IS_RELIEVED, "B claims", "A gives back"),
    ),
    "a write does not ask for the state": (
        Rules(only_while_leased=False),
        STALE_WON,
        (*A_IS_RELIEVED, "A gives back"),
    ),
    "the sweep sends no hints": (
        Rules(sweep_hints=False),
        LOST,
        ("the hint is lost",),
    ),
    "the ledger is not asked first": (
        Rules(looks_first=False),
        PAID_TWICE,
        ("A claims", *A_PAYS, "A records", "A gives back", "the sweep passes", "A claims", *A_PAYS),
    ),
    "an answer is used before it is durable": (
        Rules(records_first=False),
        PAID_TWICE,
        ("A claims", *A_PAYS, "A gives back", "the sweep passes", "A claims", *A_PAYS),
    ),
    "a request is sent without a look at the lease": (
        Rules(announces=False),
        PAID_TWICE,
        (
            "A claims",
            "A looks into the ledger",
            "the lease runs out",
            "the sweep passes",
            "A announces",
            "A is answered",
            "B claims",
            *B_PAYS,
        ),
    ),
    "a task is closed after its result was applied, not with it": (
        Rules(closes_at_once=False),
        APPLIED_TWICE,
        ("A claims", "A looks into the ledger", "A announces", "A fails", *2 * ("the scheduler applies",)),
    ),
}


def test_every_interleaving_obeys_the_laws():
    found = explore(Rules())
    assert (found.broken, found.trace) == (None, ())
    assert found.states > 30_000  # the search really went everywhere


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_caught(mistake: str):
    rules, law, trace = MISTAKES[mistake]
    found = explore(rules)
    assert (found.broken, found.trace) == (law, trace)


def test_the_count_of_attempts_would_be_a_fence_only_while_no_sweep_counts_back():
    """Why there is a token all the same: this rests on a rule that has nothing to do with fences."""
    assert explore(Rules(fence="attempts")).broken is None


def test_a_walk_ends_the_task_within_its_attempts():
    walks = [walk(Random(seed), most=200) for seed in range(50)]
    assert all(is_over(steps[-1][1]) for steps in walks)
    assert max(state.task.attempts for steps in walks for _, state in steps) == MAX_ATTEMPTS
