"""Wires the rooms together into one server process."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from .. import __version__
from ..alerts.lifecycle import Alerts
from ..alerts.queue import open_queue
from ..api import docs, openapi, problems
from ..api.bodies.budget import BodyBudget
from ..api.bodies.limits import BodyLimits
from ..api.bodies.parsing_pool import ParsingPool
from ..api.cloud_events import endpoints as cloud_events
from ..api.endpoints import alert_actions, alerts, drift, feedback, health, metrics, observe, predict, thumbnails
from ..api.middleware.api_keys import ApiKeys
from ..api.middleware.origins import HostCheck, OriginCheck, origin_of
from ..api.middleware.predict_fast_path import PredictFastPath
from ..api.middleware.request_head import Check, RequestHead
from ..api.middleware.security_headers import SecurityHeaders
from ..api.open_inference import infer, metadata
from ..api.single_flight import SingleFlight
from ..api.state import ServerState
from ..errors import ConfigurationError
from ..inference.bundle import AnyBundle, Bundle
from ..inference.predictor import Predictor
from ..pages import routes as pages
from ..serving.counters import ModelMetrics, ServerMetrics
from ..serving.feedback import FeedbackLog
from ..serving.model_registry import ModelRegistry, RegisteredModel, ServedModel
from ..serving.observations import ObservationLog
from ..serving.prediction_logger import Correction, PredictionLogger
from ..serving.shadow import Shadow
from ..settings import Settings
from ..spool.forwarder import Forwarder
from ..spool.spool import Spool
from ..store import engine as engines
from ..store import models, schema

SPOOL_METRICS_SECONDS = 1.0  # seconds between two measurements of the spool for the metrics that all workers share
GZIP_BYTES = 4_096  # bytes of an answer from which compressing it is worth the time
GZIP_LEVEL = 4  # of 1..9: a tenth larger than 9, and four times as fast
STATEMENT_TIMEOUT_SECONDS = 30  # after which Postgres gives up a query of the API
ROUTERS = [
    *(module.router for module in (predict, metadata, infer, observe, cloud_events, feedback)),
    *(module.router for module in (drift, alerts, alert_actions, thumbnails, health, metrics, docs, pages)),
]

logger = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    served: Sequence[AnyBundle],
    url: str,
    corrections: Mapping[str, Correction] | None = None,
    shadows: Sequence[Bundle] = (),
    on_ready: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Return the server for bundles, the first being the default, on the database at `url`.

    Parameters
    ----------
    served : Sequence[AnyBundle]
        Models that answer, and models that are served elsewhere and observed here.
    corrections : Mapping[str, Correction] or None
        Of the models, by name:version, whose answers are corrected for other class proportions.
    shadows : Sequence[Bundle]
        Models that receive the default model's images, and do not answer.
    on_ready : Callable[[], None]
        Called once all models are loaded, before the first request.

    Raises
    ------
    DatabaseError
        The database is out of reach or its schema is not current.
    ConfigurationError
        A model is to receive images in shadow, and none answers.
    ReferenceMismatch
        The stored reference belongs to another model file.
    """
    if shadows and not any(isinstance(bundle, Bundle) for bundle in served):
        raise ConfigurationError("--shadow: no model answers here, so that there are no images to pass on")
    engine = engines.connect(url, transaction_timeout=engines.HANG_TIMEOUT, statement_timeout=STATEMENT_TIMEOUT_SECONDS)
    engines.check(engine)
    schema.check(engine)
    with engine.begin() as connection:
        model_ids = [
            models.register(
                connection, bundle.name, bundle.version, bundle.sha256, list(bundle.labels), bundle.former_sha256
            )
            for bundle in (*served, *shadows)
        ]
    server_metrics = ServerMetrics(settings.slice_tags, settings.max_slices)
    stopping = threading.Event()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registered = [
            RegisteredModel(bundle, key, ModelMetrics(server_metrics, bundle.name, bundle.version, bundle.labels))
            for bundle, key in zip((*served, *shadows), model_ids, strict=True)
        ]
        here, in_shadow = registered[: len(served)], registered[len(served) :]
        async with open_server_state(
            settings, engine, url, server_metrics, here, in_shadow, corrections or {}, stopping
        ) as state:
            app.state.server = state
            app.state.engine, app.state.settings = engine, settings
            app.state.queue, app.state.alerts = state.queue, state.alerts
            on_ready()
            logger.info("serving %s", ", ".join(model.name for model in state.models.all))
            yield

    app = FastAPI(
        title="Tidemark",
        summary="Serves an image classifier and notices when the world it was trained on has moved",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,  # /openapi.json and /docs are ours: they work behind a prefix and without other servers
        redirect_slashes=False,  # paths are made canonical before; a redirect would lose a proxy's prefix
        telemetry={"metrics": False, "logs": False},  # `/metrics` is ours; asking whether they are wanted takes time
    )
    app.state.stopping = stopping  # set once the process has been told to stop
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    document = openapi.describe(app, secured=bool(settings.api_keys))
    app.openapi = lambda: document  # type: ignore[method-assign]
    _add_middleware(app, settings, server_metrics)
    return app


@asynccontextmanager
async def open_server_state(
    settings: Settings,
    engine: Engine,
    url: str,
    server_metrics: ServerMetrics,
    here: Sequence[RegisteredModel],
    in_shadow: Sequence[RegisteredModel],
    corrections: Mapping[str, Correction],
    stopping: threading.Event,
) -> AsyncIterator[ServerState]:
    """Open what the endpoints share, and close it in reverse order, each part whatever happens to the others."""
    async with AsyncExitStack() as stack:
        stack.callback(engine.dispose)
        spool = Spool.create(settings.data_dir / "spool", settings.spool_sync, settings.spool_max_bytes)
        stack.callback(spool.close)
        forwarder = Forwarder(
            spool, engine, server_metrics.forwarded, server_metrics.rows_rejected, settings.retention_days
        )
        forwarder.start()
        stack.callback(forwarder.stop)
        measuring = asyncio.create_task(_measure_spool(server_metrics, spool))
        stack.callback(measuring.cancel)
        default = next((model for model in here if isinstance(model.bundle, Bundle)), None)
        shadows = []
        for model in in_shadow:
            if default is not None and isinstance(model.bundle, Bundle) and isinstance(default.bundle, Bundle):
                shadow = Shadow(model.bundle, default.bundle, settings, spool, model.metrics)
                stack.push_async_callback(asyncio.to_thread, shadow.close)
                shadows.append(shadow)
        registry = ModelRegistry(
            [
                *(
                    _served(
                        model,
                        settings,
                        spool,
                        corrections.get(model.name),
                        tuple(shadows) if model is default else (),
                    )
                    for model in here
                ),
                *in_shadow,
            ]
        )
        for answering in registry.answering:
            stack.push_async_callback(answering.predictor.close)
        queue = open_queue(engines.conninfo(url))
        parsers = ParsingPool()
        stack.callback(parsers.close)
        yield ServerState(
            settings=settings,
            engine=engine,
            metrics=server_metrics,
            spool=spool,
            models=registry,
            observations=ObservationLog(spool, engine, _embedding_sizes(engine, registry)),
            feedback=FeedbackLog(engine, spool, registry, server_metrics),
            alerts=Alerts(queue, settings.webhook_urls, settings.public_url),
            queue=queue,
            database=SingleFlight(partial(health.database_state, engine)),
            drift_metrics=SingleFlight(partial(metrics.drift_exposition, engine)),
            parsers=parsers,
            stopping=stopping,
        )


def _add_middleware(app: FastAPI, settings: Settings, server_metrics: ServerMetrics) -> None:
    """Add what requests pass on their way to the router, from the inside to the outside."""
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_BYTES, compresslevel=GZIP_LEVEL)
    app.add_middleware(PredictFastPath, path="/predict", endpoint=predict.predict)
    app.add_middleware(BodyLimits, limits=_body_limits(settings), budget=BodyBudget(settings.max_request_memory))
    app.add_middleware(RequestHead, prefix=settings.root_path, checks=_checks(settings))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            max_age=600,
        )
    paths = frozenset(path for path in app.openapi()["paths"] if "{" not in path)
    app.add_middleware(SecurityHeaders, answered=server_metrics.request_answered, paths=paths)


def _body_limits(settings: Settings) -> dict[str, int]:
    """Return the paths that take larger bodies than others, with their limits in bytes."""
    return {
        "/predict": settings.max_request_bytes,
        "/v2/models/*": settings.max_request_bytes,
        "/observe*": observe.BODY_BYTES,
        "/feedback": feedback.BODY_BYTES,
    }


def _checks(settings: Settings) -> list[Check]:
    checks: list[Check] = [OriginCheck([*settings.cors_origins, origin_of(settings.public_url)])]
    if settings.api_keys:
        return [*checks, ApiKeys(settings.api_keys)]
    return [HostCheck([*settings.allowed_hosts, urlsplit(settings.public_url).hostname or ""]), *checks]


async def _measure_spool(server_metrics: ServerMetrics, spool: Spool) -> None:
    """Keep this worker's spool in the metrics, whichever worker is asked for them."""
    while True:
        try:
            await asyncio.to_thread(server_metrics.measure_spool, spool)
        except Exception:
            logger.exception("the spool could not be measured; its metrics stand still until it can")
        await asyncio.sleep(SPOOL_METRICS_SECONDS)


def _served(
    model: RegisteredModel,
    settings: Settings,
    spool: Spool,
    correction: Correction | None,
    shadows: tuple[Shadow, ...],
) -> RegisteredModel:
    """Return a model with what makes it answer, unless it is served elsewhere."""
    if not isinstance(model.bundle, Bundle):
        return model
    predictor = Predictor(
        model.bundle,
        PredictionLogger(model.name, spool, model.metrics, correction, settings.thumbnails),
        max_batch=settings.max_batch,
        wait_ms=settings.batch_wait_ms,
        queue_limit=settings.queue_limit,
        patience=settings.request_timeout,
        max_pixels=settings.max_image_pixels,
        threads=settings.inference_threads,
        providers=settings.providers,
        observe=model.metrics.observe,
    )
    return ServedModel(model.bundle, model.model_id, model.metrics, predictor, correction is not None, shadows)


def _embedding_sizes(engine: Engine, registry: ModelRegistry) -> dict[str, int]:
    """Return the size of each model's embedding as far as it is known: of those that run, and of those observed."""
    with engine.connect() as connection:
        pinned = models.embedding_sizes(connection, [model.model_id for model in registry.all])
    sizes = {model.name: pinned[model.model_id] for model in registry.all if model.model_id in pinned}
    sizes |= {model.name: model.predictor.embedding_size for model in registry.answering}
    return sizes | {shadow.name: shadow.embedding_size for shadow in registry.shadows}
