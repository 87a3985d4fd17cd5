"""Traces of a real run at a collector on loopback: one trace from a seed to its example, told by three processes."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import House, Model, rows, until, write_seeds

proto = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="the extra `otel` is not installed"
)


@dataclass(slots=True)
class Collector:
    """Keeps what is sent to it, as bytes and as spans, each with the service and the process that told it."""

    url: str = ""
    raw: list[bytes] = field(default_factory=list)
    spans: list[tuple[str, int, Any]] = field(default_factory=list)

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        self.raw.append(body)
        for group in proto.ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {one.key: one.value for one in group.resource.attributes}
            who = about["service.name"].string_value, about["process.pid"].int_value
            self.spans += [(*who, span) for scope in group.scope_spans for span in scope.spans]

    def trace_with(self, name: str) -> list[tuple[str, int, Any]]:
        """The spans of a trace that has one of this name."""
        found = [span.trace_id for _, _, span in self.spans if span.name == name]
        return [told for told in self.spans if found and told[2].trace_id == found[0]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield kept
        server.shutdown()
        thread.join()


def test_one_trace_goes_from_a_seed_to_its_example_over_all_processes(
    house: House, model: Model, collector: Collector, tmp_path: Path
) -> None:
    traced = house.at({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "500"})
    seeds = write_seeds(tmp_path / "seeds.jsonl", 4, "traces")
    done = traced.run(seeds, "traced", "--set", "search.iterations=1", "--set", "harvest.size=4")
    assert done.code == 0, done.err
    made = rows(tmp_path / "traced" / "dataset.jsonl")
    until(lambda: sum(span.name == "example" for *_, span in collector.spans) >= len(made), "all examples are told")
    assert house.cli("up").code == 0  # without traces; and what was still to be told has been told
    calls = house.number("SELECT count(*) FROM calls c JOIN runs r ON r.id = c.run_id WHERE r.name = 'traced'")
    until(lambda: sum(span.name == "call" for *_, span in collector.spans) >= calls, "all calls are told")

    found = collector.trace_with("example")
    assert {"seed", "expand", "evaluate", "respond", "call", "apply", "example"} <= {span.name for *_, span in found}
    assert {service for service, *_ in found} == {"instructree-orchestrator", "instructree-worker"}
    # An orchestrator and two workers, the second of which may come when all is done.
    assert len({pid for _, pid, _ in collector.spans}) in (2, 3)
    assert len({span.trace_id for *_, span in collector.spans}) == 4  # one for each seed
    known = {span.span_id: span.name for *_, span in found}
    above = {(span.name, known[span.parent_span_id]) for *_, span in found if span.parent_span_id}
    kinds = ("expand", "evaluate", "respond")
    assert above == {
        *((kind, "seed") for kind in kinds),
        *(("call", kind) for kind in kinds),
        *(("apply", kind) for kind in kinds),
        ("example", "apply"),
    }
    (root,) = [span for *_, span in found if not span.parent_span_id]
    assert root.name == "seed"
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano >= 10**18 for *_, span in found)
    facts = {fact.key for *_, span in found if span.name == "call" for fact in span.attributes}
    assert {"instructree.role", "instructree.endpoint", "instructree.outcome", "gen_ai.usage.output_tokens"} <= facts
    assert_secretive(collector, made, model)


def assert_secretive(collector: Collector, made: list[dict[str, Any]], model: Model) -> None:
    """Neither a text nor a key."""
    told = b"".join(collector.raw)
    assert told and model.key.encode() not in told
    for row in made:
        assert row["instruction"][:30].encode() not in told and row["output"][:30].encode() not in told


def test_a_collector_that_is_not_there_holds_nobody_up(house: House, tmp_path: Path) -> None:
    traced = house.at({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    seeds = write_seeds(tmp_path / "seeds.jsonl", 2, "no collector")
    done = traced.run(seeds, "untold", "--set", "search.iterations=1", "--set", "harvest.size=2")
    assert done.code == 0, done.err
    assert house.verified("untold")
