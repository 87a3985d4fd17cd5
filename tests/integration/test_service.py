"""The orchestrator process on real rows, whatever becomes of the database meanwhile."""

from threading import Event, Thread

from sqlalchemy import Engine, text

from db import runs
from orchestrator.hints import Hints
from orchestrator.service import Orchestrator
from tests.e2e.house import until
from tests.integration.night import Hands, start
from tests.integration.outages import standby


def test_a_run_goes_on_when_a_standby_has_been_promoted(engine: Engine, redis_url: str):
    start(engine, seeds=1)
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET owner_until = NULL"))
    hints, hands, stop = Hints(redis_url), Hands(engine), Event()
    serving = Thread(target=Orchestrator(engine, hints).serve, args=(stop,), daemon=True)

    def done() -> bool:
        hands.work()
        with engine.connect() as connection:
            return runs.by_id(connection, 1).status == "done"

    try:
        with standby(engine) as refused:
            serving.start()
            assert refused.wait(30)
        until(done, "the run ends", every_s=0.02)
    finally:
        stop.set()
        serving.join()
        hints.close()
