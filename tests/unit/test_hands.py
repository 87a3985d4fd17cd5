"""A worker process that ends: in order, and whole."""

from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
import structlog

from db.errors import ServiceError
from workers import app
from workers.hands import Hands
from workers.llm.errors import LedgerAway
from workers.process import Loop


def parts_without_ledger() -> Mock:
    parts = Mock(gateway=AsyncMock(), limiter=AsyncMock())
    parts.gateway.close.side_effect = LedgerAway("2 paid answers could not be written")
    return parts


def hands_of(parts: Mock) -> Hands:
    named: dict[str, Any] = {name: getattr(parts, name) for name in Hands.__dataclass_fields__}
    return Hands(**{**named, "loop": Loop()})


def test_a_worker_whose_last_answers_could_not_be_written_leaves_the_register_all_the_same():
    parts = parts_without_ledger()
    with pytest.raises(LedgerAway, match="2 paid answers"):
        hands_of(parts).close()
    ended = [name for name, _, _ in parts.mock_calls]
    assert ended[-4:] == ["gateway.close", "limiter.close", "heart.stop", "engine.dispose"]


def test_answers_that_are_lost_are_told_whatever_else_fails_after_them():
    parts = parts_without_ledger()
    parts.limiter.close.side_effect = OSError("the broker is gone, too")
    with structlog.testing.capture_logs() as logs, pytest.raises(OSError, match="the broker is gone"):
        hands_of(parts).close()
    assert [entry["cause"] for entry in logs] == ["2 paid answers could not be written"]


def test_answers_that_are_lost_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch):
    hands = Mock()
    hands.close.side_effect = LedgerAway("2 paid answers could not be written: the database was away")
    monkeypatch.setattr(app, "_hands", [hands])
    with pytest.raises(ServiceError, match=r"2 paid answers could not be written: .* asks again, and pays again"):
        app._leave()
