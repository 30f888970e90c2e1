"""A request's trace, as a collector receives it: from the HTTP request through the queue and the slot to the reply."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from served import Service

from benchmarks.cluster import until
from tests.conftest import PUZZLE

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Collector:
    """Takes OTLP over HTTP and keeps the spans, each with the name of the service that sent it."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.spans += read(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of(self, name: str) -> list[Span]:
        return sorted((span for _, span in self.spans if span.name == name), key=lambda span: span.start_time_unix_nano)


def read(request: ExportTraceServiceRequest) -> list[tuple[str, Span]]:
    return [
        (attribute.value.string_value, span)
        for resource in request.resource_spans
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def traced(collector: Collector, start: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service that traces every request to the collector."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    service = start("--trace-sample", "1", "--log-format", "json", "--log-level", "debug")
    until(service.ready)
    return service


def ask(service: Service, headers: dict[str, str]) -> dict[str, Any]:
    body = {"task": "sudoku", "puzzle": PUZZLE, "mode": "fixed", "max_segments": 3}
    return httpx.post(f"{service.url}/solve", json=body, headers=headers).json()


def test_a_request_is_one_trace_with_the_right_parents(collector: Collector, traced: Service) -> None:
    answer = ask(traced, {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-Id": "mine"})
    until(lambda: collector.of("POST /solve") and collector.of("reply"))

    assert {span.trace_id.hex() for _, span in collector.spans} == {TRACE}
    assert {(service, span.name) for service, span in collector.spans} == {
        ("hrm-api", "POST /solve"),
        *[("hrm-worker", name) for name in ("queue", "slot", "segment", "reply")],
    }
    (request,), (queue,), (slot,), (reply,) = map(collector.of, ("POST /solve", "queue", "slot", "reply"))
    segments = collector.of("segment")
    assert request.parent_span_id.hex() == CALLER
    assert {span.parent_span_id for span in (queue, slot, reply)} == {request.span_id}
    assert [segment.parent_span_id for segment in segments] == [slot.span_id] * 3
    assert {attribute.key: attribute.value for attribute in slot.attributes}["hrm.segments"].int_value == 3

    moments = [request.start_time_unix_nano, queue.start_time_unix_nano, slot.start_time_unix_nano]
    moments += [segment.start_time_unix_nano for segment in segments]
    moments += [reply.start_time_unix_nano, reply.end_time_unix_nano]
    milliseconds = [moment // 1_000_000 for moment in moments]
    assert milliseconds == sorted(milliseconds)
    assert queue.end_time_unix_nano == slot.start_time_unix_nano
    assert segments[-1].end_time_unix_nano == slot.end_time_unix_nano == reply.start_time_unix_nano

    lines = [json.loads(line) for line in traced.log.splitlines()]
    ours = {line["message"]: line for line in lines if line.get("job_id") == answer["id"]}
    assert {line["trace_id"] for line in ours.values()} == {TRACE}
    assert ours["request"]["request_id"] == "mine"
    assert ours["puzzle ended"]["segments"] == 3
