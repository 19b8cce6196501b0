"""`GET /metrics`: what the server counts, and the drift state of every stream in Postgres."""

import asyncio
import logging

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import Engine

from ..state import State
from .drift_metrics import DriftCollector

logger = logging.getLogger(__name__)
router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response, summary="Prometheus metrics")
async def get_metrics(state: State) -> Response:
    """Return the metrics; those of drift are left out while the database does not answer."""
    text = await asyncio.to_thread(state.metrics.exposition, state.spool)
    try:
        text += await state.drift_metrics()
    except TimeoutError:
        logger.warning("drift metrics left out, the database does not answer")
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def drift_exposition(engine: Engine) -> bytes:
    """Return the drift state in Postgres in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(DriftCollector(engine))
    return generate_latest(registry)
