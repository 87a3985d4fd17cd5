"""Whoever looks for the orchestrators' marks goes on looking."""

from threading import Event
from unittest.mock import Mock

import pytest
import structlog

from workers import ears
from workers.process import Held


def test_a_look_that_fails_as_nobody_foresaw_is_logged_and_not_the_last(monkeypatch: pytest.MonkeyPatch):
    looked_again = Event()
    looks = iter((ValueError("no such mark"), None))

    def look(*_: object) -> None:
        failure = next(looks, None)
        if failure is not None:
            raise failure
        looked_again.set()

    monkeypatch.setattr(ears, "LOOK_S", 0.01)
    monkeypatch.setattr("db.guard.estranged", look)
    watcher = ears.Ears(Mock(), Held(), "redis://broker", "redis://limits")
    with structlog.testing.capture_logs() as logs:
        watcher.start()
        assert looked_again.wait(30)
        watcher.stop()
    assert [entry["event"] for entry in logs] == ["ears_failed"]
