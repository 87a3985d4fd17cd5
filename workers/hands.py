"""The parts of a worker process put together, and taken apart again in the right order."""

from dataclasses import dataclass

import structlog
from sqlalchemy import Engine

from db.engine import open_engine
from db.environment import database_url
from db.workers import Identity
from workers.llm.address import addresses_from_environment
from workers.llm.gateway import Gateway, open_gateway
from workers.process import Heart, Held, Loop
from workers.run_task import Runner

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """Everything a worker process shares among its tasks."""

    engine: Engine
    loop: Loop
    gateway: Gateway
    heart: Heart
    runner: Runner

    def close(self) -> None:
        """Leaves the register last, when nothing is written any more."""
        self.loop.run(self.gateway.close())
        self.heart.stop()
        self.loop.close()
        self.engine.dispose()


def open_hands(queues: tuple[str, ...], slots: int) -> Hands:
    """Builds the shared state of this process; nothing in it is made on demand."""
    # Claims and results are short; a few connections serve many slots, the ledger and the heart.
    engine = open_engine(database_url(), pool_size=min(slots, 16) + 4)
    loop = Loop()
    gateway = loop.run(open_gateway(engine, addresses_from_environment()))
    held = Held()
    identity = Identity.of_this_process(queues, slots)
    heart = Heart(engine, identity, held)
    heart.start()
    log.info("worker_ready", worker=identity.id, queues=",".join(queues), slots=slots)
    runner = Runner(engine, loop, gateway, identity, held)
    return Hands(engine=engine, loop=loop, gateway=gateway, heart=heart, runner=runner)
