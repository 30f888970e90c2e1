"""Traces of sampled requests, for an OpenTelemetry collector: who asked, how long it waited, thought, and was answered.

The extra `otel` brings the SDK; where nothing is sampled, it is not even imported. Where traces go is said by
OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT and its kin).
"""

from __future__ import annotations

from contextvars import ContextVar
from importlib.metadata import version
from typing import TYPE_CHECKING

from service.settings import Settings, SettingsError, variable

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

TRACEPARENT: ContextVar[str] = ContextVar("traceparent", default="")
"""The W3C trace context of the request that this task answers; empty where it is not sampled."""


def trace_id(traceparent: str) -> str:
    """The trace that a W3C trace context belongs to; empty for none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 else ""


def open_tracer(settings: Settings, role: str) -> Tracer | None:
    """A tracer that exports in the background, or None where nothing is sampled.

    A worker follows the API's choice. The API chooses by the trace's id, also where a client sends one: nobody
    outside decides how much is traced.

    Raises:
        SettingsError: Traces are asked for, and the extra `otel` is not installed.
    """
    if settings.trace_sample == 0:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415
    except ModuleNotFoundError:
        raise SettingsError(
            f"{variable('trace_sample')}: traces need the extra otel: pip install 'hrm-serve[otel]'"
        ) from None
    share = TraceIdRatioBased(settings.trace_sample)
    sampler = ParentBased(share, remote_parent_sampled=share) if role == "api" else ParentBased(share)
    names = {"service.name": f"hrm-{role}", "service.version": version("hrm-serve")}
    provider = TracerProvider(sampler=sampler, resource=Resource.create(names))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("hrm-serve")
