"""How the database is spoken to: what a connection asks for, and what its address may say otherwise."""

from typing import Any

import psycopg2
import pytest

from db.engine import open_engine


class _Refused(psycopg2.OperationalError):
    pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the driver was told when a connection was opened."""
    told: dict[str, Any] = {}

    def connect(*_: object, **options: object) -> None:
        told.update(options)
        raise _Refused("nobody is there")

    monkeypatch.setattr(psycopg2, "connect", connect)
    return told


def connect(url: str) -> None:
    with pytest.raises(Exception, match="nobody is there"):
        open_engine(url).connect()


def test_a_host_that_is_gone_is_noticed_within_half_a_minute_by_either_side(asked: dict[str, Any]) -> None:
    connect("postgresql://u@far.example/d")
    idle_s = asked["keepalives_idle"] + asked["keepalives_interval"] * asked["keepalives_count"]
    assert asked["keepalives"] == 1 and idle_s <= 30 and asked["tcp_user_timeout"] <= 30_000
    assert {"-c tcp_keepalives_idle=10", "-c tcp_user_timeout=25000"} <= {
        f"-c {option.strip()}" for option in asked["options"].split("-c ") if option
    }


def test_what_the_address_says_comes_first(asked: dict[str, Any]) -> None:
    connect("postgresql://u@far.example/d?keepalives_idle=60&connect_timeout=3")
    assert (asked["keepalives_idle"], asked["connect_timeout"]) == ("60", "3")
    assert asked["tcp_user_timeout"] == 25_000
