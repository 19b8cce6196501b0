"""Opens the state that the endpoints of one server process share, and closes it in reverse order."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from sqlalchemy import Engine

from ..alerts.lifecycle import Alerts
from ..alerts.queue import open_queue
from ..api.bodies.memory_budget import BodyBudget
from ..api.bodies.parsing_pool import ParsingPool
from ..api.endpoints import health, metrics
from ..api.endpoints.drift_metrics import DriftCollector
from ..api.server_state import ServerState
from ..api.single_flight import SingleFlight
from ..inference.bundle import Bundle
from ..inference.predictor import Predictor
from ..serving.counters import ServerMetrics
from ..serving.feedback import FeedbackLog
from ..serving.model_registry import ModelRegistry, RegisteredModel, ServedModel
from ..serving.observations import ObservationLog
from ..serving.prediction_logger import Correction, PredictionLogger
from ..serving.refusals import SAMPLE_SECONDS, RecentRefusals
from ..serving.shadow import Shadow
from ..settings import Settings
from ..spool.forwarder import Forwarder
from ..spool.spool import Spool
from ..store import engine as engines
from ..store import models
from .loop_lag import measure_loop_lag

SPOOL_METRICS_SECONDS = 1.0  # seconds between two measurements of the spool for the metrics that all workers share
SPOOL_CHECKPOINT_SECONDS = 2.0  # seconds between two checks whether the spool's write-ahead log has grown long

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_server_state(
    settings: Settings,
    engine: Engine,
    url: str,
    server_metrics: ServerMetrics,
    in_service: Sequence[RegisteredModel],
    in_shadow: Sequence[RegisteredModel],
    corrections: Mapping[str, Correction],
    body_budget: BodyBudget,
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
        measuring = asyncio.create_task(_repeat(SPOOL_METRICS_SECONDS, partial(server_metrics.measure_spool, spool)))
        stack.callback(measuring.cancel)
        checkpoints = asyncio.create_task(_repeat(SPOOL_CHECKPOINT_SECONDS, spool.checkpoint))
        stack.callback(checkpoints.cancel)
        lag = asyncio.create_task(measure_loop_lag(server_metrics.loop_lag.observe))
        stack.callback(lag.cancel)
        refusals = RecentRefusals(server_metrics)
        sampling = asyncio.create_task(_repeat(SAMPLE_SECONDS, refusals.sample))
        stack.callback(sampling.cancel)
        default = next((model for model in in_service if isinstance(model.bundle, Bundle)), None)
        shadows = []
        for model in in_shadow:
            if default is not None and isinstance(model.bundle, Bundle) and isinstance(default.bundle, Bundle):
                shadow = Shadow(model.bundle, default.bundle, settings, spool, model.metrics)
                stack.push_async_callback(asyncio.to_thread, shadow.close)
                shadows.append(shadow)
        registry = ModelRegistry(
            [
                *(
                    _served_models(
                        model,
                        settings,
                        spool,
                        corrections.get(model.name),
                        tuple(shadows) if model is default else (),
                    )
                    for model in in_service
                ),
                *in_shadow,
            ]
        )
        for answering in registry.answering:
            stack.push_async_callback(answering.predictor.close)
        queue = open_queue(engines.conninfo(url))
        collector = DriftCollector(engine, [(model.bundle.name, model.bundle.version) for model in registry.served])
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
            drift_collector=collector,
            drift_metrics=SingleFlight(partial(metrics.drift_exposition, collector)),
            parsers=parsers,
            body_budget=body_budget,
            refusals=refusals,
            stopping=stopping,
        )


async def _repeat(seconds: float, measure: Callable[[], None]) -> None:
    """Call a function in a thread, again and again; an error of one call does not end the others."""
    while True:
        try:
            await asyncio.to_thread(measure)
        except Exception:
            logger.exception("a periodic task failed; it is repeated in %g s", seconds)
        await asyncio.sleep(seconds)


def _served_models(
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
        pinned = models.embedding_sizes(connection, [model.model_id for model in registry.served])
    sizes = {model.name: pinned[model.model_id] for model in registry.served if model.model_id in pinned}
    sizes |= {model.name: model.predictor.model.embedding_size for model in registry.answering}
    return sizes | {shadow.name: shadow.embedding_size for shadow in registry.shadows}
