"""What the console keeps of what it was asked: fresh for all who ask at once, and gone when nobody asks."""

import gc
import weakref

import pytest

pytest.importorskip("starlette", reason="the extra `console` is not installed")

from orchestrator.console.live import EVERY_S, Fresh


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Answer:
    pass


def test_an_answer_serves_all_who_ask_until_it_is_old():
    clock = Clock()
    fresh: Fresh[Answer] = Fresh(clock)
    first = fresh.get("a phrase", Answer)
    assert fresh.get("a phrase", Answer) is first
    assert fresh.get("another", Answer) is not first
    clock.now += EVERY_S
    assert fresh.get("a phrase", Answer) is not first


def test_what_nobody_asks_for_any_more_is_let_go():
    clock = Clock()
    fresh: Fresh[Answer] = Fresh(clock)
    phrases = [weakref.ref(fresh.get(f"phrase {number}", Answer)) for number in range(10)]
    clock.now += 30
    shown = fresh.get("a run that is looked at", Answer)
    assert all(one() is not None for one in phrases)
    clock.now += 40
    fresh.get("another", Answer)
    gc.collect()
    assert all(one() is None for one in phrases)
    assert shown is not None
