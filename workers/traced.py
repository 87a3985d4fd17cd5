"""What a worker tells of its time: the task, and the calls that it made. See `db.tracing`."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from os import urandom

from db import tracing
from db.records import CallRow, Lease
from db.tracing import Fact, Scope, Span
from workers.llm.call import Call

Flight = asyncio.Task[tuple[CallRow, bool]]


@contextmanager
def task_span(lease: Lease, run_created_at: Callable[[int], datetime]) -> Iterator[None]:
    """Around the work of a task; calls inside stand below it."""
    if not tracing.on():
        yield
        return
    group = tracing.group_of(lease.tree_id, lease.payload)
    root = tracing.root_scope(lease.run_id, run_created_at(lease.run_id), group)
    here, begun_s = tracing.task_scope(root, lease.task_id, lease.token), time.time()
    token = tracing.inside.set(here)
    try:
        yield
    finally:
        tracing.inside.reset(token)
        facts: dict[str, Fact] = {"instructree.attempt": lease.attempts, "instructree.task": lease.task_id}
        tracing.tell(Span(name=lease.kind, scope=here, above=root, begun_s=begun_s, ended_s=time.time(), facts=facts))


def watch_call(flight: Flight, call: Call) -> None:
    """Tells of a call when it has ended, below the task that asked first."""
    above, begun_s = tracing.inside.get(), time.time()
    if above is not None:
        flight.add_done_callback(lambda done: tracing.tell(_call_span(done, call, above, begun_s)))


def _call_span(flight: Flight, call: Call, above: Scope, begun_s: float) -> Span:
    error = asyncio.CancelledError() if flight.cancelled() else flight.exception()
    facts: dict[str, Fact] = {
        "gen_ai.request.model": call.request.model,
        "instructree.role": call.role.value,
        "instructree.endpoint": call.request.endpoint,
    }
    if error is None:
        row, replayed = flight.result()
        facts |= {
            "gen_ai.usage.input_tokens": row.tokens_in,
            "gen_ai.usage.output_tokens": row.tokens_out,
            "instructree.outcome": row.outcome,
            "instructree.replayed": replayed,
        }
    return Span(
        name="call",
        scope=Scope(trace=above.trace, span=int.from_bytes(urandom(8)) or 1),
        above=above,
        begun_s=begun_s,
        ended_s=time.time(),
        failed=None if error is None else type(error).__name__,
        facts=facts,
    )
