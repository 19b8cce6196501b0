"""Wires the rooms together into one server process."""

import functools
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from .. import __version__
from ..api import docs, openapi, problems
from ..api.bodies.limits import BodyLimits
from ..api.bodies.memory_budget import BodyBudget
from ..api.cloud_events import endpoints as cloud_events
from ..api.endpoints import (
    alert_actions,
    alerts,
    drift,
    feedback,
    health,
    labels,
    metrics,
    observe,
    predict,
    thumbnails,
)
from ..api.middleware.api_keys import ApiKeys
from ..api.middleware.origins import HostCheck, OriginCheck, origin_of
from ..api.middleware.predict_fast_path import PredictFastPath
from ..api.middleware.request_head import Check, RequestHead
from ..api.middleware.security_headers import SecurityHeaders
from ..api.open_inference import infer, metadata
from ..errors import ConfigurationError
from ..inference.bundle import AnyBundle, Bundle
from ..pages import alert_forms, label_page
from ..pages import routes as pages
from ..serving.counters import ModelMetrics, ServerMetrics
from ..serving.model_registry import RegisteredModel
from ..serving.prediction_logger import Correction
from ..settings import Settings
from ..store import engine as engines
from ..store import models, schema
from .application import Application, is_traced
from .open_state import open_server_state

TRUSTED_PROXIES = "FORWARDED_ALLOW_IPS"  # uvicorn's variable: addresses whose `X-Forwarded-Proto` and `-For` count
GZIP_BYTES = 4_096  # bytes of an answer from which compressing it is worth the time
GZIP_LEVEL = 4  # level between 1 and 9; a tenth larger than 9, and four times as fast
STATEMENT_TIMEOUT_SECONDS = 30  # time after which Postgres gives up a query of the API
ROUTERS = [
    *(module.router for module in (predict, metadata, infer, observe, cloud_events, feedback, labels)),
    *(module.router for module in (drift, alerts, alert_actions, thumbnails, health, metrics, docs)),
    *(module.router for module in (alert_forms, label_page, pages)),
]
# The routes are used as their modules made them: FastAPI's `include_router` makes each again at every start.
ROUTES = [route for router in ROUTERS for route in router.routes]

logger = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    served: Sequence[AnyBundle],
    url: str,
    corrections: Mapping[str, Correction] | None = None,
    shadows: Sequence[Bundle] = (),
    on_ready: Callable[[], None] = lambda: None,
    stopping: threading.Event | None = None,
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
    stopping : threading.Event or None
        Set by the caller when the process has received a signal to stop.

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
    body_budget = BodyBudget(settings.max_request_memory)
    stop_event = stopping or threading.Event()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registered = [
            RegisteredModel(bundle, key, ModelMetrics(server_metrics, bundle.name, bundle.version, bundle.labels))
            for bundle, key in zip((*served, *shadows), model_ids, strict=True)
        ]
        in_service, in_shadow = registered[: len(served)], registered[len(served) :]
        async with open_server_state(
            settings,
            engine,
            url,
            server_metrics,
            in_service,
            in_shadow,
            corrections or {},
            body_budget,
            stop_event,
        ) as state:
            app.state.server = state
            on_ready()
            logger.info("serving %s", ", ".join(model.name for model in state.models.served))
            for model in state.models.answering:
                logger.info("%s runs on %s", model.name, model.predictor.model.providers[0])
            yield

    app = Application(
        title=openapi.TITLE,
        summary=openapi.SUMMARY,
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,  # /openapi.json and /docs are ours: they work behind a prefix and without other servers
        redirect_slashes=False,  # paths are made canonical before; a redirect would lose a proxy's prefix
        telemetry={"metrics": False, "logs": False},  # `/metrics` is ours; asking whether they are wanted takes time
    )
    problems.install(app)
    app.router.routes.extend(ROUTES)
    app.openapi = lambda: _document(bool(settings.api_keys))  # type: ignore[method-assign]
    _add_middleware(app, settings, server_metrics, body_budget)
    return app


@functools.cache
def _document(secured: bool) -> dict[str, Any]:
    """Return the OpenAPI document, which is made when it is asked for: it takes longer than the rest of a start."""
    return openapi.describe(ROUTES, secured)


def _add_middleware(
    app: Application, settings: Settings, server_metrics: ServerMetrics, body_budget: BodyBudget
) -> None:
    """Add what requests pass on their way to the router."""
    paths = frozenset(route.path for route in ROUTES if isinstance(route, Route) and "{" not in route.path)
    layers = [Middleware(SecurityHeaders, answered=server_metrics.request_answered, paths=paths)]
    if settings.cors_origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            max_age=600,
        )
        layers.append(cors)
    layers.append(Middleware(RequestHead, prefix=settings.root_path, checks=_checks(settings)))
    layers.append(Middleware(BodyLimits, limits=_body_limits(settings), budget=body_budget))
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=os.environ.get(TRUSTED_PROXIES, "127.0.0.1"))
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_BYTES, compresslevel=GZIP_LEVEL)
    if is_traced():
        app.add_middleware(PredictFastPath, path="/predict", endpoint=predict.predict)  # inside of FastAPI's spans
    else:
        layers.append(Middleware(PredictFastPath, path="/predict", endpoint=predict.predict))
    app.add_layers(layers)


def _body_limits(settings: Settings) -> dict[str, int]:
    """Return the paths that take larger bodies than others, with their limits in bytes."""
    return {
        "/predict": settings.max_request_bytes,
        "/v2/models/*": settings.max_request_bytes,
        "/observe*": observe.BODY_BYTES,
        "/feedback": feedback.BODY_BYTES,
        "/labels/import": labels.IMPORT_BYTES,
    }


def _checks(settings: Settings) -> list[Check]:
    checks: list[Check] = [OriginCheck([*settings.cors_origins, origin_of(settings.public_url)])]
    if settings.api_keys:
        return [*checks, ApiKeys(settings.api_keys)]
    return [HostCheck([*settings.allowed_hosts, urlsplit(settings.public_url).hostname or ""]), *checks]
