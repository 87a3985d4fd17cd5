"""Traces for OpenTelemetry: where the time of a seed went, from its first task to its examples, over all machines.

Ids are computed, never carried: a trace's from the run and the tree, a task's span from its lease. So no message and no
row knows of traces, and any process can name what stands above the span it tells. Kinds, numbers and outcomes are told;
no text, no key. Nothing is done, and nothing of it imported, where no collector is named.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from threading import Thread

import structlog

from db.errors import ConfigError
from db.records import Json

log = structlog.get_logger()

# The first is the address as it is, to the second the standard path is added.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SHARE = "INSTRUCTREE_TRACES"
VARIABLES = (*ENDPOINTS, "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SDK_DISABLED", SHARE)
# A collector that does not answer loses spans. The end of a process waits no longer for it, either.
_ANSWER_S = 2.0

Fact = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A span by its ids, whoever tells it."""

    trace: int
    span: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Times are seconds since 1970. `failed` says why it came to nothing."""

    name: str
    scope: Scope
    above: Scope | None
    begun_s: float
    ended_s: float
    failed: str | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)


# The task that is being carried out here.
inside: ContextVar[Scope | None] = ContextVar("inside", default=None)
_sink: Callable[[Span], None] | None = None
_last_words: Callable[[], None] | None = None


def on() -> bool:
    """Whether spans go anywhere."""
    return _sink is not None


def tell(span: Span) -> None:
    if _sink is not None:
        _sink(span)


def group_of(tree_id: int | None, payload: Json) -> str:
    """Which tasks share a trace: a seed's; in a pool a round's, and those that an instruction's instances take."""
    if tree_id is not None:
        return f"seed/{tree_id}"
    return f"round/{payload['round']}" if "round" in payload else f"instruction/{payload.get('instruction', 0)}"


def root_scope(run_id: int, run_created_at: datetime, group: str) -> Scope:
    """The root of a trace. The time tells databases apart, in which the same ids are given anew."""
    name = f"{run_created_at.timestamp():.6f}/{run_id}/{group}"
    return Scope(trace=_number(16, name), span=_number(8, name, "root"))


def task_scope(root: Scope, task_id: int, token: int) -> Scope:
    """One go at a task: each claim has a token of its own."""
    return below(root, "task", task_id, token)


def below(scope: Scope, *name: object) -> Scope:
    return Scope(trace=scope.trace, span=_number(8, scope.trace, *name))


def _number(size: int, *name: object) -> int:
    digest = sha256("/".join(map(str, name)).encode()).digest()
    return int.from_bytes(digest[:size]) or 1  # 0 is no id


def begin(part: str, environment: Mapping[str, str] | None = None) -> None:
    """From here on this process tells its spans to the collector that the environment names, if it names one.

    Raises:
        ConfigError: the share is no number from 0 to 1.
    """
    env = os.environ if environment is None else environment
    share = _share(env)
    if not share or not any(env.get(name) for name in ENDPOINTS) or env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    try:
        send, end = _sender(part)
    except ImportError:
        log.warning("traces_off", cause=f"{ENDPOINTS[1]} is set, and the extra `otel` is not installed")
        return
    _to(lambda span: send(span) if _chosen(span.scope.trace, share) else None, end)


def end() -> None:
    """Tells what is still to be told, if that can be done in a moment."""
    if _last_words is not None:
        last = Thread(target=_last_words, name="traces", daemon=True)
        last.start()
        last.join(_ANSWER_S)
    _to(None, None)


def _to(sink: Callable[[Span], None] | None, last_words: Callable[[], None] | None) -> None:
    global _sink, _last_words
    _sink, _last_words = sink, last_words


def _share(env: Mapping[str, str]) -> float:
    told = env.get(SHARE) or "1"
    try:
        share = float(told)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"{SHARE}={told!r}: expected the share of seeds that are traced, from 0 to 1")
    return share


def _chosen(trace: int, share: float) -> bool:
    """The same on every machine: a trace is told whole, or not at all."""
    return trace % 2**64 < share * 2**64


def _sender(part: str) -> tuple[Callable[[Span], None], Callable[[], None]]:
    """What sends a span, and what ends it. Raises ImportError without the extra."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

    class Told(SpanExporter):
        """Says what was lost in one line; the library takes many, and quotes."""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = collector.export(spans)
            if result is not SpanExportResult.SUCCESS:
                log.warning("traces_lost", spans=len(spans))
            return result

        def shutdown(self) -> None:
            collector.shutdown()  # type: ignore[no-untyped-call]  # it has no types

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    collector = OTLPSpanExporter(timeout=_ANSWER_S)
    queue = BatchSpanProcessor(Told())
    resource = Resource.create(
        {"service.name": f"instructree-{part}", "process.pid": os.getpid(), "host.name": os.uname().nodename}
    )
    scope = InstrumentationScope("instructree")

    def context(of: Scope, *, remote: bool) -> SpanContext:
        return SpanContext(of.trace, of.span, is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    def send(span: Span) -> None:
        queue.on_end(
            ReadableSpan(
                name=span.name,
                context=context(span.scope, remote=False),
                parent=context(span.above, remote=True) if span.above else None,
                resource=resource,
                attributes=dict(span.facts),
                status=Status(StatusCode.ERROR, span.failed) if span.failed else Status(),
                start_time=int(span.begun_s * 1e9),
                end_time=int(max(span.ended_s, span.begun_s) * 1e9),
                instrumentation_scope=scope,
            )
        )

    return send, queue.shutdown
