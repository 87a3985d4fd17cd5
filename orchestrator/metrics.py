"""What the installation does, for Prometheus: told by any orchestrator, read from the database at each scrape.

Nothing here is counted in memory, so nothing drifts: two orchestrators tell the same, and a restart loses nothing. What
may be long (calls, nodes, texts) is summed up with its rows, see `db.totals`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine

from db import gauges, minutes, rabbit, totals, workers
from db.engine import AWAY
from workers.config import NUSD_PER_USD
from workers.contracts import Kind, Reason
from workers.llm.limits.states import BREAKERS, EndpointState, states_at

K = TypeVar("K", bound=tuple[str, ...])

_PREFIX = "instructree_"
# What there is none of is told as 0: a series that comes and goes makes gaps in a panel, and to Prometheus a counter
# has not grown by what it began with.
_STATUSES = ("running", "paused", "done", "stopped", "cancelled", "failed")
_FATES = ("open", "lost", "doubled")
_KNOCK_S = 2.0
_OF_ENDPOINTS = (
    ("pace", "Requests a second that all workers together may make; 0 while nobody has asked.", "pace"),
    ("in_flight", "Requests on their way.", "in_flight"),
    ("paused_seconds", "For how long nobody may ask, because a Retry-After said so.", "paused_s"),
)
_COUNTED_OF_ENDPOINTS = (
    ("requests", "Requests that the limiter allowed.", "allowed"),
    ("retries", "Those of them that repeat a request.", "retried"),
    ("limited", "Answers 429.", "limited"),
    ("failures", "Requests that failed: 5xx, no connection, or no whole answer.", "failed"),
    ("wait_seconds", "Time that requests waited for leave, summed.", "waited_s"),
)
_REASONS = frozenset(reason.value for reason in Reason)


class Figures(Collector):
    """All series but those of a single process. `limiter` is where the limits are, the broker unless it is named."""

    def __init__(self, engine: Engine, broker: str, limiter: str | None = None) -> None:
        self._engine = engine
        self._broker = broker
        self._limiter = limiter or broker

    def collect(self) -> Iterable[Metric]:
        """A database or a broker that is away is told as such; the series it would have told are absent."""
        began = perf_counter()
        yield from self._of_database()
        yield from self._of_broker()
        yield _gauge("scrape_seconds", "How long these figures took to count.", perf_counter() - began)

    def _of_database(self) -> list[Metric]:
        about = "Whether the database answers."
        try:
            with self._engine.connect() as connection:
                return [_gauge("database_up", about, 1), *self._counted(connection)]
        except AWAY:
            return [_gauge("database_up", about, 0)]

    def _of_broker(self) -> list[Metric]:
        about = "Whether the broker answers, and the server of the limiter."
        try:
            if rabbit.is_one(self._broker):
                rabbit.knock(self._broker, timeout_s=_KNOCK_S)
            return [_gauge("broker_up", about, 1), *_limits(asyncio.run(states_at(self._limiter)))]
        except (RedisError, OSError):
            return [_gauge("broker_up", about, 0)]

    def _counted(self, connection: Connection) -> Iterator[Metric]:
        yield from _queues(gauges.queues(connection))
        yield from _ended(minutes.by_kind(connection))
        yield from _calls(totals.calls(connection))
        yield from _grown(connection)
        yield from _results(connection)
        yield from _left(gauges.left(connection), gauges.attempts_by_fate(connection))
        yield from _hands(connection)
        yield from _database(connection)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, about, value)


def _gauges(name: str, about: str, labels: Sequence[str], values: Mapping[K, float]) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, about, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def _counters(name: str, about: str, labels: Sequence[str], values: Mapping[K, float]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, about, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def _queues(found: Sequence[gauges.Queue]) -> Iterator[Metric]:
    states_of = ("ready", "retrying", "held", "leased", "unapplied", "dead")
    idle = set(Kind) - {queue.kind for queue in found}
    found = [*found, *(gauges.Queue.empty(kind) for kind in sorted(idle))]
    counts = {(queue.kind, state): float(getattr(queue, state)) for queue in found for state in states_of}
    yield _gauges(
        "tasks", "Tasks that are not closed, and dead ones, by what they wait for.", ("queue", "state"), counts
    )
    oldest = {(queue.kind,): max(queue.oldest_s, 0.0) for queue in found}
    yield _gauges("task_oldest_ready_seconds", "How long the oldest due task waits.", ("queue",), oldest)
    lag = max((queue.lag_s for queue in found), default=0.0)
    yield _gauge("scheduler_lag_seconds", "How long the oldest result waits to be noticed by an orchestrator.", lag)


def _ended(found: Mapping[str, minutes.Ended]) -> Iterator[Metric]:
    found = {kind: _never(kind) for kind in sorted(Kind)} | dict(found)
    ended = {(kind, result): getattr(one, result) for kind, one in found.items() for result in ("done", "failed")}
    yield _counters("tasks_ended", "Tasks that ended.", ("queue", "result"), ended)
    retries = {(kind,): one.retries for kind, one in found.items()}
    yield _counters("task_retries", "Attempts beyond the first, of tasks that ended.", ("queue",), retries)
    waits = {kind: (one.waits, one.wait_s) for kind, one in found.items()}
    yield _histogram("task_wait_seconds", "From being due to being begun.", waits)
    runs = {kind: (one.runs, one.run_s) for kind, one in found.items()}
    yield _histogram("task_run_seconds", "From being begun to the end.", runs)


def _never(kind: str) -> minutes.Ended:
    """Of a kind of task none of which has ended."""
    none = (0,) * (len(minutes.BOUNDS_S) + 1)
    return minutes.Ended(kind=kind, done=0, failed=0, retries=0, wait_s=0, run_s=0, lag_s=0, waits=none, runs=none)


def _histogram(name: str, about: str, values: Mapping[str, tuple[Sequence[int], float]]) -> Metric:
    family = HistogramMetricFamily(_PREFIX + name, about, labels=("queue",))
    for kind, (counts, total) in values.items():
        upto, buckets = 0, list[tuple[str, float]]()
        for bound, count in zip((*minutes.BOUNDS_S, float("inf")), counts, strict=True):
            upto += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(upto)))
        family.add_metric([kind], buckets=buckets, sum_value=total)
    return family


def _calls(found: Sequence[totals.Calls]) -> Iterator[Metric]:
    whose = ("role", "endpoint")
    calls, tokens, dollars, seconds = (defaultdict[tuple[str, ...], float](float) for _ in range(4))
    for one in found:
        who = (one.role, one.endpoint)
        calls[*who, one.outcome] += one.calls
        tokens[*who, "in"] += one.tokens_in
        tokens[*who, "out"] += one.tokens_out
        dollars[who] += one.nusd / NUSD_PER_USD
        seconds[who] += one.seconds
    yield _counters("calls", "Answers in the ledger.", (*whose, "outcome"), calls)
    yield _counters("call_tokens", "Tokens of answers in the ledger.", (*whose, "direction"), tokens)
    yield _counters("call_dollars", "What they cost, where prices are known.", whose, dollars)
    yield _counters("call_seconds", "How long they took, summed.", whose, seconds)


def _grown(connection: Connection) -> Iterator[Metric]:
    about = "Nodes that are scored, unscored, rejected or failed, by reason."
    nodes = _by_reason(totals.everywhere(connection, "seeds", "evolved"), good="scored")
    yield _counters("nodes", about, ("status", "reason"), nodes)
    yield _gauge(
        "nodes_open",
        "Nodes that wait for a text or a score, of runs that have not ended.",
        gauges.nodes_open(connection),
    )
    about = "Texts generated for pools, kept or rejected, by reason."
    texts = _by_reason(totals.everywhere(connection, "texts"), good="kept")
    yield _counters("texts", about, ("status", "reason"), texts)


def _by_reason(found: Mapping[tuple[str, str], int], *, good: str) -> Mapping[tuple[str, str], float]:
    """Counts by status and reason; a reason that is none of ours is `other`, so that labels stay few.

    `good`: the status that takes no reason, told even where there is none of it.
    """
    counts = defaultdict[tuple[str, str], float](float, {(good, ""): 0.0})
    for (status, reason), count in found.items():
        counts[status, reason if not reason or reason in _REASONS else "other"] += count
    return counts


def _results(connection: Connection) -> Iterator[Metric]:
    examples = _by_reason(totals.everywhere(connection, "examples"), good="accepted")
    yield _gauges("examples", "Examples, by reason.", ("status", "reason"), examples)
    runs = {(status,): 0 for status in _STATUSES} | {(s,): n for s, n in gauges.runs_by_status(connection).items()}
    yield _gauges("runs", "Runs.", ("status",), runs)


def _left(left: Mapping[str, gauges.Left], fates: Mapping[str, int]) -> Iterator[Metric]:
    amounts = {(unit,): one.amount for unit, one in left.items() if unit != "nusd"}
    shares = {("dollars" if unit == "nusd" else unit,): one.share for unit, one in left.items()}
    if "nusd" in left:
        amounts["dollars",] = left["nusd"].amount / NUSD_PER_USD
    about = "What running runs with a cap may still spend, reservations taken off."
    yield _gauges("budget_left", about, ("unit",), amounts)
    about = "The same as a share of its cap, of the run that has the smallest left of those that have any."
    yield _gauges("budget_share_left", about, ("unit",), shares)
    attempts = {(fate,): 0 for fate in _FATES} | {(fate,): count for fate, count in fates.items()}
    yield _gauges("attempts", "Requests without an answer of their own in the ledger, by fate.", ("fate",), attempts)


def _hands(connection: Connection) -> Iterator[Metric]:
    found = gauges.hands(connection, silent_s=workers.SILENT_S, orchestrator=workers.ORCHESTRATOR)
    yield _gauges("workers", "Living worker processes.", ("version",), {(one.version,): one.workers for one in found})
    yield _gauge("worker_slots", "Slots of all living workers.", sum(one.slots for one in found))
    yield _gauge("worker_slots_busy", "Busy slots of all living workers.", sum(one.busy for one in found))


def _database(connection: Connection) -> Iterator[Metric]:
    dead = {(table,): count for table, count in gauges.dead_rows(connection).items()}
    yield _gauges("database_dead_rows", "Dead rows, as Postgres estimates them.", ("table",), dead)
    states_of = {(state,): count for state, count in gauges.connections(connection).items()}
    yield _gauges("database_connections", "Connections to the database.", ("state",), states_of)


def _limits(found: Mapping[tuple[str, str], EndpointState]) -> Iterator[Metric]:
    """What the limiter that all workers share knows of each endpoint. It starts anew where the broker was wiped."""
    whose = ("endpoint", "model")
    breakers = {(*place, state): float(one.breaker == state) for place, one in found.items() for state in BREAKERS}
    yield _gauges("endpoint_breaker", "1 for the state that its breaker is in.", (*whose, "state"), breakers)
    for name, about, field in _OF_ENDPOINTS:
        yield _gauges(f"endpoint_{name}", about, whose, {place: getattr(one, field) for place, one in found.items()})
    for name, about, field in _COUNTED_OF_ENDPOINTS:
        yield _counters(f"endpoint_{name}", about, whose, {place: getattr(one, field) for place, one in found.items()})
