"""The parts of a worker process put together, and taken apart again in the right order."""

import os
from contextlib import ExitStack
from dataclasses import dataclass

import structlog
from sqlalchemy import Engine

from db import tasks, workers
from db.engine import open_engine
from db.environment import broker_url, database_url, redis_url
from db.workers import Identity
from workers.ears import Ears
from workers.known import Known
from workers.llm.address import addresses_from_environment
from workers.llm.errors import LedgerAway
from workers.llm.gateway import Gateway, open_gateway
from workers.llm.limits import Limiter, RedisLimiter
from workers.porter import Porter
from workers.process import Heart, Held, Loop
from workers.run_task import Runner
from workers.slots import Slots

log = structlog.get_logger()

ABANDONED_EXIT = 1
# To the database, for 16 tasks that are at it, the ledger and the heart. They are made when they are needed.
_CONNECTIONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """Everything a worker process shares among its tasks."""

    engine: Engine
    loop: Loop
    gateway: Gateway
    limiter: Limiter
    porter: Porter
    held: Held
    slots: Slots
    heart: Heart
    ears: Ears
    runner: Runner

    def close(self) -> None:
        """Leaves the register last, when nothing is written any more. One part that fails leaves no other open.

        Raises LedgerAway when paid answers could not be written.
        """
        with ExitStack() as rest:  # ended from below
            rest.callback(self.engine.dispose)
            rest.callback(self.loop.close)
            rest.callback(self.heart.stop)
            rest.callback(lambda: self.loop.run(self.limiter.close()))
            rest.callback(self._close_gateway)
            rest.callback(self.porter.close)
            rest.callback(self.ears.stop)

    def _close_gateway(self) -> None:
        """Says at once what could not be written: what fails after it may be raised in its place."""
        try:
            self.loop.run(self.gateway.close())
        except LedgerAway as error:
            log.warning("answers_lost", cause=str(error))
            raise

    def abandon(self) -> None:
        """Ends this process at once and gives its tasks back, so that nobody waits for its leases to end.

        What is being answered just now is lost, and counted as such.
        """
        try:
            with self.engine.begin() as connection:
                count = tasks.give_all_back(connection, self.held.tokens(), error="its worker was told to stop")
                workers.leave(connection, self.heart.worker)
            log.warning("abandoned", tasks=count)
        finally:
            os._exit(ABANDONED_EXIT)


def open_hands(queues: tuple[str, ...], slots: int) -> Hands:
    """Builds the shared state of this process; nothing in it is made on demand."""
    # Claims and results are short; a few connections serve many slots, the ledger and the heart.
    engine = open_engine(database_url(), pool_size=_CONNECTIONS, ping=False)
    loop = Loop()
    book = addresses_from_environment()
    limiter = RedisLimiter(redis_url(), book)
    gateway = loop.run(open_gateway(engine, book, limiter))
    held = Held()
    identity = Identity.of_this_process(queues, slots)
    known = Known(engine)
    places = Slots(slots)
    heart = Heart(engine, identity, held, known, places)
    heart.start()
    ears = Ears(engine, held, broker_url(), redis_url())
    ears.start()
    log.info("worker_ready", worker=identity.id, queues=",".join(queues), slots=slots)
    porter = Porter(engine, identity.id)
    runner = Runner(engine, loop, gateway, porter, held, known)
    return Hands(
        engine=engine,
        loop=loop,
        gateway=gateway,
        limiter=limiter,
        porter=porter,
        held=held,
        slots=places,
        heart=heart,
        ears=ears,
        runner=runner,
    )
