"""The API as one ASGI application, made of its features."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute

from model.registry import Registry
from service.api import health, metrics, openapi, solve, tasks, workers
from service.api.access import Keyring
from service.api.batch import routes as batch
from service.api.batch.schemas import BatchLine, BatchRequest
from service.api.body import BodyReader
from service.api.catalogue import Catalogue
from service.api.checkpoints import routes as checkpoints
from service.api.checkpoints.schemas import Load, TaskStatus
from service.api.context import Context
from service.api.desk import Desk
from service.api.errors import handle_errors
from service.api.intake import Intake
from service.api.jobs import routes as jobs
from service.api.jobs.schemas import Job
from service.api.middleware import RequestsMiddleware
from service.broker.records import BrokerError, FrontBroker
from service.checkpoints import TaskVersions
from service.metrics import ApiMetrics
from service.schemas import Answer, Problem, SolveRequest
from service.settings import Settings

_KNOCK_S = 1.0

log = logging.getLogger(__name__)


def create_app(settings: Settings, broker: FrontBroker, registry: Registry) -> FastAPI:
    """The application; the broker starts and stops with it.

    Args:
        settings: Every limit.
        broker: The queue, not started yet.
        registry: Says which tasks there are.
    """
    api_metrics = ApiMetrics()
    catalogue = Catalogue(registry, settings.default_task)
    context = Context(
        settings=settings,
        metrics=api_metrics,
        catalogue=catalogue,
        keyring=Keyring(settings),
        bodies=BodyReader(settings),
        intake=Intake(settings, catalogue),
        desk=Desk(broker, api_metrics),
        registry=registry,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background = [asyncio.create_task(_start(broker, context)), asyncio.create_task(catalogue.keep_fresh())]
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await broker.close()

    app = FastAPI(
        title="hrm-serve",
        summary="POST a puzzle, get a checked answer from a Hierarchical Reasoning Model.",
        version=version("hrm-serve"),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redoc_url=None,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
        },  # looking whether they are on costs 20 us a request
    )
    app.state.context = context
    handle_errors(app)
    for feature in (solve, batch, jobs, tasks, workers, checkpoints, health, metrics):
        feature.mount(app, context)
    app.add_middleware(RequestsMiddleware, metrics=api_metrics)  # last, and so around everything else
    openapi.document(app, [SolveRequest, Answer, BatchRequest, BatchLine, Job, Load, TaskVersions, TaskStatus, Problem])
    api_metrics.know_routes(
        (route.path, method) for route in app.routes if isinstance(route, APIRoute) for method in route.methods or ()
    )
    api_metrics.know_tasks(catalogue.names())
    return app


async def _start(broker: FrontBroker, context: Context) -> None:
    """Start the broker; where Redis is not there yet, say so once and go on knocking."""
    try:
        await broker.start()
    except BrokerError as error:
        log.error("Redis does not answer: %s; trying again until it does", error)
    while not context.started:
        with suppress(BrokerError):
            await broker.workers()
            context.started = True
        if not context.started:
            await asyncio.sleep(_KNOCK_S)
    log.info("connected to Redis")
