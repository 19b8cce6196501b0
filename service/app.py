"""Wires the rooms together into one server process."""

import json
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from service.alerts.queue import open_queue
from service.api import alerts, drift, feedback, health, metrics, open_inference, predict, problems, thumbnails
from service.api.auth import ApiKeys
from service.api.hot_path import HotPath
from service.api.kept import Correction, Keeper
from service.api.models import Served, ServedModels
from service.api.security_headers import SecurityHeaders
from service.inference import bundle as bundles
from service.inference.bundle import Bundle
from service.inference.predictor import Predictor
from service.ledger.forwarder import Forwarder
from service.ledger.spool import Spool
from service.pages import routes as pages
from service.remedy.priors_file import corrections
from service.settings import Settings
from service.store import engine as engines
from service.store import models, schema

BUNDLE_VARIABLE = "TIDEMARK_BUNDLE"  # how `serve` tells its workers which bundles to load, as a JSON list,
PRIORS_VARIABLE = "TIDEMARK_CORRECT_PRIORS"  # and the files of class proportions to correct for

logger = logging.getLogger(__name__)


def create_app(
    settings: Settings, served: Sequence[Bundle], url: str, corrections: Mapping[str, Correction] | None = None
) -> FastAPI:
    """Return the server for bundles, the first being the default, on the database at `url`.

    `corrections` are of the models, by name:version, whose answers are corrected for other class proportions.

    Raises
    ------
    DatabaseError
        The database is out of reach or its schema is not current.
    ReferenceMismatch
        The stored reference belongs to another model file.
    """
    engine = engines.connect(url)
    engines.check(engine)
    schema.check(engine)
    with engine.begin() as connection:
        model_ids = [
            models.register(connection, bundle.name, bundle.version, bundle.sha256, list(bundle.labels))
            for bundle in served
        ]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = app.state
        counted = metrics.Metrics()
        spool = Spool.create(settings.data_dir / "spool", settings.spool_sync, settings.spool_max_bytes)
        forwarder = Forwarder(spool, engine, counted.forwarded)
        state.models = ServedModels(
            [
                _served(
                    settings, bundle, key, counted, spool, (corrections or {}).get(f"{bundle.name}:{bundle.version}")
                )
                for bundle, key in zip(served, model_ids, strict=True)
            ]
        )
        state.settings, state.engine, state.metrics, state.spool = settings, engine, counted, spool
        state.queue = open_queue(engines.conninfo(url))
        forwarder.start()
        logger.info("serving %s", ", ".join(model.name for model in state.models.all))
        yield
        for model in state.models.all:
            await model.predictor.close()
        forwarder.stop()
        spool.close()
        engine.dispose()

    app = FastAPI(
        title="Tidemark",
        summary="Serves an image classifier and notices when the world it was trained on has moved",
        version="1",
        lifespan=lifespan,
    )
    problems.install(app)
    app.add_middleware(HotPath, path="/predict", endpoint=predict.predict)
    if settings.api_keys:
        app.add_middleware(ApiKeys, keys=settings.api_keys)
    app.add_middleware(SecurityHeaders)
    for room in (predict, open_inference, feedback, drift, alerts, thumbnails, health, metrics):
        app.include_router(room.router)
    app.include_router(pages.router)
    return app


def _served(
    settings: Settings,
    bundle: Bundle,
    model_id: int,
    counted: metrics.Metrics,
    spool: Spool,
    correction: Correction | None,
) -> Served:
    own = metrics.ModelMetrics(counted, bundle.name, bundle.version, bundle.labels)
    predictor = Predictor(
        bundle,
        Keeper(f"{bundle.name}:{bundle.version}", spool, own, correction, settings.thumbnails),
        max_batch=settings.max_batch,
        wait_ms=settings.batch_wait_ms,
        queue_limit=settings.queue_limit,
        patience=settings.request_timeout,
        max_pixels=settings.max_image_pixels,
        threads=settings.inference_threads,
        observe=own.observe,
    )
    return Served(bundle, model_id, predictor, own, correction is not None)


def worker() -> FastAPI:
    """Return the server that the environment describes: what each worker process of `tidemark serve` runs."""
    settings = Settings.load()
    if settings.database_url is None:
        raise RuntimeError("workers are started by `tidemark serve`, which sets TIDEMARK_DATABASE_URL")
    served = [bundles.load(Path(folder)) for folder in json.loads(os.environ[BUNDLE_VARIABLE])]
    priors = [Path(file) for file in json.loads(os.environ.get(PRIORS_VARIABLE, "[]"))]
    url = engines.normalised(settings.database_url.get_secret_value())
    return create_app(settings, served, url, corrections(priors, served))
