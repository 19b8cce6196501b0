"""`GET /metrics`: what the server counts, and the drift state of every stream in Postgres."""

import asyncio
import logging
from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..server_state import State
from .drift_metrics import DriftCollector

logger = logging.getLogger(__name__)
router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response, summary="Prometheus metrics")
async def get_metrics(state: State) -> Response:
    """Return the metrics; of drift only that nobody watches while the database does not answer."""
    text = await asyncio.to_thread(state.metrics.exposition, state.spool)
    try:
        text += await state.drift_metrics()
    except TimeoutError:
        logger.warning("drift metrics are missing, the database does not answer")
        text += generate_latest(UnavailableCollector(state.drift_collector))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def drift_exposition(collector: DriftCollector) -> bytes:
    """Return the drift state in Postgres in the text format of Prometheus."""
    return generate_latest(collector)


class UnavailableCollector(Collector):
    """Return the metrics that a drift collector has without the database."""

    def __init__(self, drift: DriftCollector) -> None:
        self._drift = drift

    def collect(self) -> Iterator[Metric]:
        return self._drift.unavailable()
