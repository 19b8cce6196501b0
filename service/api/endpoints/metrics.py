"""Counters and histograms of this server, and `/metrics`, which shows them beside the drift scores of Postgres."""

import asyncio
import logging
import os
from collections import Counter as Counts
from collections.abc import Mapping, Sequence
from pathlib import Path

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from sqlalchemy import Engine

from ...spool.spool import Spool
from ...store.logged import Logged
from .drift_metrics import DriftCollector

logger = logging.getLogger(__name__)

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # the folder that prometheus_client reads
STAGES = ("decode", "queue", "infer", "log", "total")
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)


class Metrics:
    """What one server process counts; under several workers prometheus_client adds them up through files."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ("model", "version")

        def histogram(name: str, text: str, buckets: tuple[float, ...], *more: str) -> Histogram:
            return Histogram(f"tidemark_{name}", text, (*names, *more), buckets=buckets, registry=self.registry)

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(f"tidemark_{name}", text, (*names, *more), registry=self.registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"tidemark_{name}", text, registry=self.registry, multiprocess_mode="livesum")

        self.predictions = counter("predictions", "Acknowledged predictions by predicted label", "label")
        self.seconds = histogram("predict_seconds", "Time a request spends in each stage", SECONDS, "stage")
        self.requests = counter("predict_requests", "Requests to predict by HTTP status", "status")
        self.batch_size = histogram("batch_size", "Images in one run of the model", BATCHES)
        self.confidence = histogram("confidence", "Confidence of the predicted label", CONFIDENCES)
        self.shadow_dropped = counter("shadow_dropped", "Images that a model in shadow was not shown")
        self._feedback = counter("feedback", "Labels fed back")
        self._spool_pending = gauge("spool_pending", "Predictions that wait in the spool")
        self._spool_bytes = gauge("spool_bytes", "Size of the predictions that wait in the spool")
        self._rows = Counter("tidemark_log_rows", "Predictions forwarded to Postgres", registry=self.registry)
        self._failures = Counter("tidemark_log_failures", "Failed attempts to forward", registry=self.registry)

    def fed_back(self, model: str, count: int) -> None:
        """Count accepted labels of the model `name:version`."""
        name, _, version = model.partition(":")
        self._feedback.labels(name, version).inc(count)

    def forwarded(self, name: str, count: int) -> None:
        """Count what the forwarder reports."""
        (self._rows if name == "rows" else self._failures).inc(count)

    def spool(self, spool: Spool) -> None:
        """Show how much waits in this worker's spool."""
        self._spool_pending.set(spool.pending)
        self._spool_bytes.set(spool.bytes() if spool.pending else 0)


class ModelMetrics:
    """What one server process counts of one model.

    Parameters
    ----------
    model, version : its labels.
    class_names : every label that it can predict, so that each has its time series from the start.
    """

    def __init__(self, metrics: Metrics, model: str, version: str, class_names: Sequence[str]) -> None:
        own = (model, version)
        self._own = own
        self._requests = metrics.requests
        self._statuses: dict[int, Counter] = {}
        self._predictions = [metrics.predictions.labels(*own, label) for label in class_names]
        self._seconds = {stage: metrics.seconds.labels(*own, stage) for stage in STAGES}
        self._batch_size = metrics.batch_size.labels(*own)
        self._confidence = metrics.confidence.labels(*own)
        self._shadow_dropped = metrics.shadow_dropped.labels(*own)
        metrics.fed_back(f"{model}:{version}", 0)

    def observe(self, stage: str, value: float) -> None:
        """Record the seconds of a stage, or with the stage "batch" the images of one run."""
        if stage == "batch":
            self._batch_size.observe(value)
        else:
            self._seconds[stage].observe(value)

    def predicted(self, batch: Logged) -> None:
        """Count acknowledged predictions."""
        for index, count in Counts(batch.labels.tolist()).items():
            self._predictions[index].inc(count)
        for confidence in batch.confidences.tolist():
            self._confidence.observe(confidence)

    def answered(self, status: int) -> None:
        """Count an answer of a prediction endpoint."""
        if status not in self._statuses:
            self._statuses[status] = self._requests.labels(*self._own, str(status))
        self._statuses[status].inc()

    def dropped(self, count: int) -> None:
        """Count images that this model was not shown in shadow."""
        self._shadow_dropped.inc(count)


def server_text(metrics: Metrics, spool: Spool) -> bytes:
    """Return the Prometheus exposition of what all workers count."""
    metrics.spool(spool)
    registry = metrics.registry
    if multiprocess(os.environ):
        _forget_dead(Path(os.environ[SHARED]))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def drift_text(engine: Engine) -> bytes:
    """Return the Prometheus exposition of the drift state in Postgres."""
    registry = CollectorRegistry()
    registry.register(DriftCollector(engine))
    return generate_latest(registry)


def multiprocess(environment: Mapping[str, str]) -> bool:
    """Tell whether prometheus_client shares its values among workers."""
    return SHARED in environment


def _forget_dead(folder: Path) -> None:
    """Drop the gauges of workers that are gone, by kill -9 as well; what they counted stays."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response, summary="Prometheus metrics")
async def metrics_page(request: Request) -> Response:
    state = request.app.state
    text = await asyncio.to_thread(server_text, state.metrics, state.spool)
    try:
        text += await state.drift_metrics()
    except TimeoutError:
        logger.warning("drift metrics left out, the database does not answer")
    return Response(text, media_type=CONTENT_TYPE_LATEST)
