"""`GET /metrics`: this process' metrics or, where it is told of several processes (`hrm serve` does), all of theirs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi import FastAPI, Response

from service.api.context import Context
from service.api.errors import ApiError
from service.exposition import merge
from service.metrics import CONTENT_TYPE

_FETCH_TIMEOUT_S = 2.0
_QUEUE_TIMEOUT_S = 1.0
"""Below _FETCH_TIMEOUT_S, or a Redis that hangs would keep the API processes out of the union just then."""

log = logging.getLogger(__name__)


def mount(app: FastAPI, context: Context) -> None:
    """Add the route, unless the metrics have a port of their own; those of several processes are shown here only."""
    if context.settings.metrics_port is not None and not context.settings.metrics_from:
        return

    async def metrics() -> Response:
        if sources := context.settings.metrics_from:
            text = await asyncio.to_thread(merge, await _fetch(sources))
        else:
            text = await render_own(context)
        return Response(text, media_type=CONTENT_TYPE)

    app.get(
        "/metrics",
        summary="Metrics for Prometheus",
        tags=["about"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )(metrics)


async def render_own(context: Context) -> bytes:
    """This process' exposition, with the queue as it stands now; as it stood, where Redis is away or hangs."""
    tasks = context.catalogue.names()
    context.metrics.know_tasks(tasks)
    try:
        async with asyncio.timeout(_QUEUE_TIMEOUT_S):
            depths = await context.desk.depths(tasks)
    except ApiError:
        depths = []
    except TimeoutError:
        context.metrics.redis_errors.labels("depths").inc()
        depths = []
    for depth in depths:
        context.metrics.queue_depth.labels(depth.task, depth.lane.value).set(depth.waiting)
        context.metrics.queue_oldest_age.labels(depth.task, depth.lane.value).set(depth.oldest_age_s)
    return context.metrics.render()


async def _fetch(urls: Sequence[str]) -> dict[str, str]:
    """The expositions that can be had, by the name after the URL's `#`; a process that is just starting has none."""
    import httpx  # noqa: PLC0415 (60 ms of the start, and only `hrm serve` needs it)

    async def one(client: httpx.AsyncClient, url: str) -> str:
        try:
            return (await client.get(url)).raise_for_status().text
        except httpx.HTTPError as error:
            log.info("no metrics from %s: %s", url, error)
            return ""

    async with httpx.AsyncClient(timeout=_FETCH_TIMEOUT_S, trust_env=False) as client:
        texts = await asyncio.gather(*(one(client, url) for url in urls))
    return dict(zip((urlsplit(url).fragment or url for url in urls), texts, strict=True))
