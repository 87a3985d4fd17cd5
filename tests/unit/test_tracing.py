"""Traces: ids that any process computes alike, shares that all agree on, and silence where nobody listens."""

import sys
from datetime import UTC, datetime
from threading import Event
from time import monotonic
from typing import Any

import pytest

from db import tracing
from db.errors import ConfigError
from db.tracing import Scope, Span

MORNING = datetime(2026, 11, 22, 4, tzinfo=UTC)
COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_sink", None)
    monkeypatch.setattr(tracing, "_last_words", None)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Span]:
    """What would have been sent."""
    spans: list[Span] = []
    monkeypatch.setattr(tracing, "_sender", lambda part: (spans.append, lambda: None))
    return spans


def span(scope: Scope) -> Span:
    return Span(name="expand", scope=scope, above=None, begun_s=1.0, ended_s=2.0)


def test_ids_are_the_same_wherever_they_are_computed_and_differ_where_they_should() -> None:
    seed = tracing.root_scope(7, MORNING, "seed/3")
    assert seed == tracing.root_scope(7, MORNING.astimezone(), "seed/3")
    task = tracing.task_scope(seed, 41, 1)
    assert task == tracing.task_scope(tracing.root_scope(7, MORNING, "seed/3"), 41, 1) and task.trace == seed.trace
    others = {
        tracing.root_scope(*of).trace
        for of in ((7, MORNING, "seed/4"), (8, MORNING, "seed/3"), (7, datetime.now(UTC), "seed/3"))
    }
    assert seed.trace not in others and len(others) == 3
    spans = {seed.span, task.span, tracing.task_scope(seed, 41, 2).span, tracing.task_scope(seed, 42, 1).span}
    assert len(spans) == 4 and all(0 < one < 2**64 for one in spans) and 0 < seed.trace < 2**128


def test_tasks_of_a_seed_share_a_trace_and_in_a_pool_those_of_a_round_or_an_instruction() -> None:
    assert tracing.group_of(12, {"kind": "expand", "round": 9}) == "seed/12"
    assert tracing.group_of(None, {"kind": "generate", "round": 3}) == "round/3"
    assert tracing.group_of(None, {"kind": "instantiate", "instruction": 3}) == "instruction/3"


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"INSTRUCTREE_TRACES": "1"},
        {**COLLECTOR, "INSTRUCTREE_TRACES": "0"},
        {**COLLECTOR, "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_nothing_is_told_unless_a_collector_is_named(env: dict[str, str], told: list[Span]) -> None:
    tracing.begin("worker", env)
    assert not tracing.on()
    tracing.tell(span(Scope(trace=1, span=1)))
    assert told == []


def test_without_the_extra_there_is_a_line_and_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(tracing.log, "warning", lambda event, **facts: said.append({"event": event, **facts}))
    tracing.begin("worker", COLLECTOR)
    assert not tracing.on() and "the extra `otel` is not installed" in said[0]["cause"]


def test_a_share_of_the_seeds_is_told_whole_and_the_same_one_everywhere(told: list[Span]) -> None:
    tracing.begin("worker", {**COLLECTOR, "INSTRUCTREE_TRACES": "0.25"})
    seeds = [tracing.root_scope(1, MORNING, f"seed/{tree}") for tree in range(400)]
    for seed in seeds:
        tracing.tell(span(seed))
        tracing.tell(span(tracing.task_scope(seed, 1, 1)))
    traces = [one.scope.trace for one in told]
    assert 60 < len(set(traces)) < 140 and len(traces) == 2 * len(set(traces))


@pytest.mark.parametrize("share", ["2", "-1", "some", "nan"])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    with pytest.raises(ConfigError, match="INSTRUCTREE_TRACES"):
        tracing.begin("worker", {**COLLECTOR, "INSTRUCTREE_TRACES": share})


def test_the_end_of_a_process_waits_for_no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_ANSWER_S", 0.1)
    hanging, said = Event(), Event()

    def last_words() -> None:
        said.set()
        hanging.wait(60)

    monkeypatch.setattr(tracing, "_sender", lambda part: (lambda span: None, last_words))
    tracing.begin("worker", COLLECTOR)
    began = monotonic()
    tracing.end()
    assert said.is_set() and monotonic() - began < 10 and not tracing.on()
    hanging.set()
