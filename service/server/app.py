"""Wires the rooms together into one server process."""

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from ..alerts.lifecycle import Alerts
from ..alerts.queue import open_queue
from ..api import problems
from ..api.cloud_events import endpoints as inference_log
from ..api.endpoints import alert_actions, alerts, drift, feedback, health, metrics, observe, predict, thumbnails
from ..api.middleware.api_keys import ApiKeys
from ..api.middleware.predict_fast_path import HotPath
from ..api.middleware.security_headers import SecurityHeaders
from ..api.open_inference import endpoints as open_inference
from ..api.single_flight import SharedLook
from ..errors import ConfigurationError
from ..inference.bundle import AnyBundle, Bundle
from ..inference.predictor import Predictor
from ..pages import routes as pages
from ..serving.model_registry import Known, Served, ServedModels
from ..serving.prediction_logger import Correction, Keeper
from ..serving.shadow import Shadow
from ..settings import Settings
from ..spool.forwarder import Forwarder
from ..spool.spool import Spool
from ..store import engine as engines
from ..store import models, schema

SHOWN = 1.0  # seconds between looks at the spool for the metrics that all workers share
COLLECTED = 50_000  # objects made between two looks of the garbage collector, each of which holds every request up

logger = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    served: Sequence[AnyBundle],
    url: str,
    corrections: Mapping[str, Correction] | None = None,
    shadows: Sequence[Bundle] = (),
) -> FastAPI:
    """Return the server for bundles, the first being the default, on the database at `url`.

    Parameters
    ----------
    served : models that answer, and models that are served elsewhere and observed here.
    corrections : of the models, by name:version, whose answers are corrected for other class proportions.
    shadows : models that are shown the default model's images, and do not answer.

    Raises
    ------
    DatabaseError
        The database is out of reach or its schema is not current.
    ConfigurationError
        A model is to be shown images in shadow, and none answers.
    ReferenceMismatch
        The stored reference belongs to another model file.
    """
    engine = engines.connect(url, transaction_timeout=engines.HANG_TIMEOUT)
    engines.check(engine)
    schema.check(engine)
    with engine.begin() as connection:
        model_ids = [
            models.register(
                connection, bundle.name, bundle.version, bundle.sha256, list(bundle.labels), bundle.former_sha256
            )
            for bundle in (*served, *shadows)
        ]
        pinned = models.embedding_sizes(connection, model_ids)
    default = next((bundle for bundle in served if isinstance(bundle, Bundle)), None)
    if default is None and shadows:
        raise ConfigurationError("--shadow: no model answers here, so that there is nothing to show to another one")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = app.state
        counted = metrics.Metrics()
        spool = Spool.create(settings.data_dir / "spool", settings.spool_sync, settings.spool_max_bytes)
        forwarder = Forwarder(spool, engine, counted.forwarded)
        known = [
            Known(bundle, key, metrics.ModelMetrics(counted, bundle.name, bundle.version, bundle.labels))
            for bundle, key in zip((*served, *shadows), model_ids, strict=True)
        ]
        here, in_shadow = known[: len(served)], known[len(served) :]
        shown = tuple(
            Shadow(bundle, default, settings, spool, model.metrics)
            for bundle, model in zip(shadows, in_shadow, strict=True)
            if default is not None
        )
        state.models = ServedModels(
            [
                *(
                    _served(
                        model,
                        settings,
                        spool,
                        (corrections or {}).get(model.name),
                        shown if model.bundle is default else (),
                    )
                    for model in here
                ),
                *in_shadow,
            ]
        )
        state.embedding_sizes = _embedding_sizes(state.models, pinned)
        state.replays = inference_log.Replays()
        state.settings, state.engine, state.metrics, state.spool = settings, engine, counted, spool
        state.database = SharedLook(partial(health.database_state, engine))
        state.drift_metrics = SharedLook(partial(metrics.drift_text, engine))
        state.queue = open_queue(engines.conninfo(url))
        state.alerts = Alerts(state.queue, settings.webhook_urls, settings.public_url)
        forwarder.start()
        showing = asyncio.create_task(_show(counted, spool))
        gc.freeze()  # what is there now stays: the collector need not look at it again and again
        gc.set_threshold(COLLECTED)
        logger.info("serving %s", ", ".join(model.name for model in state.models.all))
        yield
        for model in state.models.answering:
            await model.predictor.close()
        for shadow in state.models.shadows:
            await asyncio.to_thread(shadow.close)
        showing.cancel()
        forwarder.stop()
        spool.close()
        engine.dispose()

    app = FastAPI(
        title="Tidemark",
        summary="Serves an image classifier and notices when the world it was trained on has moved",
        version="1",
        lifespan=lifespan,
        telemetry={"metrics": False, "logs": False},  # `/metrics` is ours; asking whether they are wanted takes time
    )
    app.state.stopping = threading.Event()  # set once the process has been told to stop
    problems.install(app)
    app.add_middleware(HotPath, path="/predict", endpoint=predict.predict)
    if settings.api_keys:
        app.add_middleware(ApiKeys, keys=settings.api_keys)
    app.add_middleware(SecurityHeaders)
    rooms = (
        predict,
        open_inference,
        observe,
        inference_log,
        feedback,
        drift,
        alerts,
        alert_actions,
        thumbnails,
        health,
        metrics,
    )
    for room in rooms:
        app.include_router(room.router)
    app.include_router(pages.router)
    return app


async def _show(counted: metrics.Metrics, spool: Spool) -> None:
    """Keep this worker's spool in the metrics, whichever worker is asked for them."""
    while True:
        await asyncio.to_thread(counted.spool, spool)
        await asyncio.sleep(SHOWN)


def _served(
    model: Known, settings: Settings, spool: Spool, correction: Correction | None, shadows: tuple[Shadow, ...]
) -> Known:
    """Return a model with what makes it answer, unless it is served elsewhere."""
    if not isinstance(model.bundle, Bundle):
        return model
    predictor = Predictor(
        model.bundle,
        Keeper(model.name, spool, model.metrics, correction, settings.thumbnails),
        max_batch=settings.max_batch,
        wait_ms=settings.batch_wait_ms,
        queue_limit=settings.queue_limit,
        patience=settings.request_timeout,
        max_pixels=settings.max_image_pixels,
        threads=settings.inference_threads,
        providers=settings.providers,
        observe=model.metrics.observe,
    )
    return Served(model.bundle, model.model_id, model.metrics, predictor, correction is not None, shadows)


def _embedding_sizes(known: ServedModels, pinned: dict[int, int]) -> dict[str, int]:
    """Return the embedding's size of each model of which it is known: those that run, and those observed before."""
    sizes = {model.name: pinned[model.model_id] for model in known.all if model.model_id in pinned}
    sizes |= {model.name: model.predictor.embedding_size for model in known.answering}
    return sizes | {shadow.name: shadow.embedding_size for shadow in known.shadows}
