"""Who decides what is traced: the API by the trace's id, and the worker by what the API decided."""

import sys
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.settings import Settings, SettingsError
from service.tracing import open_tracer, trace_id

ASKED_FOR = "00-ffffffffffffffffffffffffffffffff-b7ad6b7169203331-01"
"""A caller that wants to be traced; its id is not among the sampled ones."""


@pytest.fixture
def tracer() -> Iterator[Callable[[str, float], Tracer]]:
    """Opens tracers, and closes them at the end."""
    opened = []

    def make(role: str, share: float) -> Tracer:
        opened.append(open_tracer(Settings(trace_sample=share), role))
        return opened[-1]

    yield make
    for one in opened:
        one.span_processor.shutdown()


def parent(traceparent: str) -> Context:
    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def test_callers_do_not_decide_what_the_api_traces(tracer: Callable[[str, float], Tracer]) -> None:
    assert not tracer("api", 1e-9).start_span("request", parent(ASKED_FOR)).is_recording()
    assert tracer("api", 1.0).start_span("request", parent(ASKED_FOR)).is_recording()
    assert tracer("api", 1.0).start_span("request").is_recording()


def test_what_the_api_traces_the_worker_does_too(tracer: Callable[[str, float], Tracer]) -> None:
    assert tracer("worker", 1e-9).start_span("slot", parent(ASKED_FOR)).is_recording()


def test_nothing_is_opened_where_nothing_is_sampled() -> None:
    assert open_tracer(Settings(), "api") is None


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"^HRM_TRACE_SAMPLE: traces need the extra otel: pip install"):
        open_tracer(Settings(trace_sample=0.5), "worker")


def test_a_trace_context_names_its_trace() -> None:
    assert trace_id(ASKED_FOR) == "f" * 32
    assert trace_id("") == ""
