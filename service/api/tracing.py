"""A span around every request, where requests are sampled; what is queued inside it carries its context."""

from __future__ import annotations

from opentelemetry.trace import SpanKind, Tracer, format_span_id, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.middleware import JOB_ID, QUIET
from service.tracing import TRACEPARENT


class TracingMiddleware:
    """Traces each HTTP request but the probes' and the scrapers'."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = self._tracer.start_span(
            scope["method"],
            self._propagator.extract(headers),
            SpanKind.SERVER,
            {"http.request.method": scope["method"]},
        )
        context = span.get_span_context()
        sampled = context.trace_flags.sampled
        ids = f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
        token = TRACEPARENT.set(f"00-{ids}-01" if sampled else "")

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_noted if sampled else send)
        finally:
            if route := getattr(scope.get("route"), "path", None):
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)
            if job_id := scope.get(JOB_ID):
                span.set_attribute("hrm.job_id", job_id)
            span.end()
            TRACEPARENT.reset(token)
