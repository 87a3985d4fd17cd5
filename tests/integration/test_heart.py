"""A worker's sign of life on a real database, whatever becomes of the database meanwhile."""

from collections.abc import Iterator
from datetime import datetime
from threading import Event

import pytest
from sqlalchemy import Engine, text

from db.workers import Identity
from tests.e2e.house import until
from tests.integration.outages import standby
from workers.known import Known
from workers.process import Heart, Held
from workers.slots import Slots

PATIENCE_S = 30.0


@pytest.fixture
def ended() -> Event:
    return Event()


@pytest.fixture
def heart(engine: Engine, ended: Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[Heart]:
    monkeypatch.setattr("workers.process.BEAT_S", 0.05)
    me = Identity.of_this_process(("expand",), 1)
    heart = Heart(engine, me, Held(), Known(engine), Slots(1), end=ended.set)
    heart.start()
    yield heart
    heart.stop()


def beaten_at(engine: Engine) -> datetime:
    with engine.connect() as connection:
        found: datetime = connection.execute(text("SELECT beat_at FROM workers")).scalar_one()
    return found


def test_it_beats_on_when_a_standby_has_been_promoted(engine: Engine, heart: Heart, ended: Event):
    with standby(engine) as refused:
        assert refused.wait(PATIENCE_S)
        before = beaten_at(engine)
    until(lambda: beaten_at(engine) > before, "it beats again", patience_s=PATIENCE_S)
    assert heart.refused is None and not ended.is_set()


def test_a_worker_whose_database_was_migrated_is_refused_whatever_the_migration_did(
    engine: Engine, heart: Heart, ended: Event
):
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE workers RENAME busy TO at_work"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert ended.wait(PATIENCE_S)
    assert "the database has schema 9999 now" in (heart.refused or "")
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE workers RENAME at_work TO busy"))


def test_one_that_cannot_say_why_it_was_refused_ends_all_the_same(engine: Engine, heart: Heart, ended: Event):
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE workers RENAME refused TO turned_away"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert ended.wait(PATIENCE_S)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE workers RENAME turned_away TO refused"))
