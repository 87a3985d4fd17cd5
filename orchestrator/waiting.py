"""Between two rounds: results that come close together are applied together, and waiting for some is cheap."""

import time
from collections.abc import Collection
from threading import Event

from sqlalchemy import Engine

from db import tasks

# How long results may gather after a tick: what a tick costs, whatever it applies, is shared by more of them.
GATHER_S = 0.05
# How often the queue is looked at, and after how long a round is made though nothing has ended.
LOOK_S, MOST_S = 0.05, 1.0


def wait_for_results(engine: Engine, run_ids: Collection[int], stop: Event, *, known: int) -> None:
    """Returns when more than `known` tasks of these runs have ended that nobody has applied; or when told to stop, or
    after `MOST_S`, because a run may have been paused, or its time be up.

    A look costs a hundredth of a tick.
    """
    until = time.monotonic() + MOST_S
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not stop.wait(LOOK_S) and time.monotonic() < until:
            if tasks.unapplied(connection, run_ids) > known:
                return
