"""How a database that breaks off shows itself."""

import psycopg2
import pytest
from sqlalchemy import Engine, event, text

from db import workers
from db.engine import AWAY, patiently
from db.workers import Identity
from tests.integration.outages import standby


@pytest.fixture
def breaks(engine: Engine):
    """An engine whose next statement ends as libpq ends it when it cannot say why: in a mere DatabaseError."""
    left = [1]

    def fail(*_: object) -> None:
        if left:
            left.pop()
            raise psycopg2.DatabaseError("server closed the connection unexpectedly")

    event.listen(engine, "do_execute", fail)
    yield engine
    event.remove(engine, "do_execute", fail)


def test_a_connection_that_breaks_without_a_name_is_a_database_that_is_away(breaks: Engine):
    with pytest.raises(AWAY, match="closed the connection"), breaks.connect() as connection:
        connection.execute(text("SELECT 1"))


def test_it_is_waited_for(breaks: Engine):
    assert patiently(breaks, lambda c: c.execute(text("SELECT 7")).scalar_one(), pauses_s=(0.0,)) == 7


def test_a_standby_is_a_database_that_is_away_and_its_connections_are_given_up(engine: Engine):
    me = Identity.of_this_process(("expand",), 1)
    with standby(engine), pytest.raises(AWAY, match="read-only"):
        patiently(engine, lambda c: workers.register(c, me), pauses_s=())
    patiently(engine, lambda c: workers.register(c, me), pauses_s=())
    with engine.connect() as connection:
        assert [one.id for one in workers.alive(connection)] == [me.id]
