"""How a database that breaks off shows itself."""

import psycopg2
import pytest
from sqlalchemy import Engine, event, text

from db.engine import AWAY, patiently


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
