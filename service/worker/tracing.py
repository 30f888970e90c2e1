"""The worker's part of a trace, written when the answer is out: queue, slot, segments and reply."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from service.engine.work import Outcome
from service.worker.holdings import Held

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


def trace(tracer: Tracer, outcomes: Sequence[Outcome], published: float) -> None:
    """Write the spans of answers whose requests are traced.

    Args:
        tracer: the worker's.
        outcomes: what was answered; others than those of traced requests are passed over.
        published: when, by the monotonic clock.
    """
    traced = [outcome for outcome in outcomes if outcome.work.ticket.claim.trace_context]
    if not traced:
        return
    from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 (only where something is traced)
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    epoch = time.time() - time.monotonic()

    def nanoseconds(moment: float) -> int:
        return int((epoch + moment) * 1e9)

    for outcome in traced:
        held: Held = outcome.work.ticket
        request = TraceContextTextMapPropagator().extract({"traceparent": held.claim.trace_context})
        job = {"hrm.job_id": outcome.work.id, "hrm.task": outcome.work.task}
        seated = held.ended - outcome.solve_s
        queue = tracer.start_span(
            "queue",
            request,
            attributes={**job, "hrm.lane": held.claim.lane.value, "hrm.deliveries": held.claim.deliveries},
            start_time=nanoseconds(seated - outcome.queue_s),
        )
        queue.end(nanoseconds(seated))
        slot = tracer.start_span(
            "slot",
            request,
            attributes={
                **job,
                "hrm.checkpoint": outcome.checkpoint,
                "hrm.segments": outcome.segments,
                "hrm.halted_by": outcome.halted_by.value,
            },
            start_time=nanoseconds(seated),
        )
        inside = set_span_in_context(slot)
        for number, (start, end) in enumerate(pairwise([*held.launches, held.ended]), start=1):
            segment = tracer.start_span(
                "segment", inside, attributes={"hrm.segment": number}, start_time=nanoseconds(start)
            )
            segment.end(nanoseconds(end))
        slot.end(nanoseconds(held.ended))
        reply = tracer.start_span("reply", request, attributes=job, start_time=nanoseconds(held.ended))
        reply.end(nanoseconds(published))
