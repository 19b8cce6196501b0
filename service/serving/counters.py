"""Counters of a server process: predictions, requests, refusals, and the time that each stage takes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from ..spool.rejections import REJECTION_REASONS
from ..spool.spool import Spool
from ..store.logged import Logged
from .deferred_calls import DeferredCalls
from .slice_labels import SliceLabels

MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the variable that names the folder where workers share their counts
STAGES = ("decode", "queue", "infer", "log", "total")
SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)  # images
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
WHOLE_MODEL = ""  # the label `slice` of what is counted for a whole model


class ServerMetrics:
    """The counters of one server process; under several workers prometheus_client adds the counts up through files.

    Parameters
    ----------
    slice_tags : Sequence[str]
        The tag keys whose values have counts of their own.
    max_slices : int
        Values of a tag key that are counted on their own; further values are counted together as `other`.
    """

    def __init__(self, slice_tags: Sequence[str] = (), max_slices: int = 20) -> None:
        self.registry = CollectorRegistry()
        self.slices = SliceLabels(slice_tags, max_slices)
        self.deferred = DeferredCalls()
        names = ("model", "version")

        def histogram(name: str, text: str, buckets: tuple[float, ...], *more: str) -> Histogram:
            return Histogram(f"tidemark_{name}", text, (*names, *more), buckets=buckets, registry=self.registry)

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(f"tidemark_{name}", text, (*names, *more), registry=self.registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"tidemark_{name}", text, registry=self.registry, multiprocess_mode="livesum")

        self.predictions = counter("predictions", "Acknowledged predictions by predicted label", "label")
        self.seconds = histogram("predict_seconds", "Time a request spends in each stage", SECONDS_BUCKETS, "stage")
        self.requests = counter("predict_requests", "Requests to predict by HTTP status", "status")
        self.batch_size = histogram("batch_size", "Images in one run of the model", BATCH_BUCKETS)
        self.confidence = histogram("confidence", "Confidence of the predicted label", CONFIDENCE_BUCKETS)
        self.shadow_dropped = counter("shadow_dropped", "Images that a model in shadow did not receive")
        self.images_accepted = counter("images_accepted", "Images or observed predictions that were logged", "slice")
        self.images_refused = counter(
            "images_refused", "Images or observed predictions that were refused", "slice", "reason"
        )
        self.images_abandoned = counter("images_abandoned", "Images whose client had gone before their answer")
        self.loop_lag = Histogram(
            "tidemark_event_loop_lag_seconds",
            "Time by which the event loop takes up late what is due, measured twice a second",
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self._feedback = counter("feedback", "Labels fed back")
        self._feedback_rejected = Counter(
            "tidemark_feedback_rejected", "Labels fed back that were not stored", ("reason",), registry=self.registry
        )
        self._paths = Counter(
            "tidemark_requests", "HTTP requests by path and status", ("path", "status"), registry=self.registry
        )
        self._path_counters: dict[tuple[str, int], Counter] = {}
        self._spool_pending = gauge("spool_pending", "Predictions that wait in the spool")
        self._spool_bytes = gauge("spool_bytes", "Size of the predictions that wait in the spool")
        self._rows = Counter("tidemark_log_rows", "Predictions forwarded to Postgres", registry=self.registry)
        self._failures = Counter("tidemark_log_failures", "Failed attempts to forward", registry=self.registry)
        self._rows_rejected = Counter(
            "tidemark_log_rejected", "Predictions that cannot be forwarded", ("reason",), registry=self.registry
        )
        for reason in REJECTION_REASONS:
            self._rows_rejected.labels(reason)

    def request_answered(self, path: str, status: int) -> None:
        """Count an HTTP request, by the path of its route."""
        counter = self._path_counters.get((path, status))
        if counter is None:
            counter = self._path_counters[path, status] = self._paths.labels(path, str(status))
        self.deferred.add(counter.inc)

    def feedback_accepted(self, model: str, version: str, count: int) -> None:
        """Count stored labels."""
        self._feedback.labels(model, version).inc(count)

    def feedback_rejected(self, reason: str, count: int = 1) -> None:
        """Count labels that were not stored."""
        self._feedback_rejected.labels(reason).inc(count)

    def forwarded(self, name: str, count: int) -> None:
        """Count what the forwarder reports."""
        (self._rows if name == "rows" else self._failures).inc(count)

    def rows_rejected(self, reason: str, count: int) -> None:
        """Count predictions that the forwarder set aside, or left in a spool that is not this database's."""
        self._rows_rejected.labels(reason).inc(count)

    def measure_spool(self, spool: Spool) -> None:
        """Update how much waits in this worker's spool."""
        self._spool_pending.set(spool.pending)
        self._spool_bytes.set(spool.bytes() if spool.pending else 0)

    def exposition(self, spool: Spool) -> bytes:
        """Return what all workers count in the text format of Prometheus."""
        self.measure_spool(spool)
        return generate_latest(self.shared_registry())

    def shared_registry(self) -> CollectorRegistry:
        """Return the counts of all workers of this machine."""
        if not shared_among_workers(os.environ):
            return self.registry
        _forget_dead_workers(Path(os.environ[MULTIPROCESS_FOLDER]))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry


@dataclass(frozen=True)
class StageTotal:
    """The number of passes through a stage, and the seconds spent in it."""

    count: int
    seconds: float


class ModelMetrics:
    """The counters of one model in one server process.

    Parameters
    ----------
    server : ServerMetrics
        The counters of the process.
    model, version : str
        The labels of the model's counts.
    class_names : Sequence[str]
        Every label that the model can predict, so that each has its time series from the start.
    """

    def __init__(self, server: ServerMetrics, model: str, version: str, class_names: Sequence[str]) -> None:
        self._labels = (model, version)
        self._server = server
        self._slices = server.slices
        self._deferred = server.deferred
        self._statuses: dict[int, Counter] = {}
        self._predictions = [server.predictions.labels(model, version, label) for label in class_names]
        self._seconds = {stage: server.seconds.labels(model, version, stage) for stage in STAGES}
        self._batch_size = server.batch_size.labels(model, version)
        self._confidence = server.confidence.labels(model, version)
        self._shadow_dropped = server.shadow_dropped.labels(model, version)
        self._accepted = server.images_accepted.labels(model, version, WHOLE_MODEL)
        self._abandoned = server.images_abandoned.labels(model, version)
        server.feedback_accepted(model, version, 0)

    def observe(self, stage: str, value: float) -> None:
        """Record the seconds of a stage, or with the stage "batch" the images of one run."""
        histogram = self._batch_size if stage == "batch" else self._seconds[stage]
        self._deferred.add(histogram.observe, value)

    def predicted(self, batch: Logged) -> None:
        """Count acknowledged predictions."""
        self._deferred.add(self._count_predicted, batch)

    def _count_predicted(self, batch: Logged) -> None:
        counts: dict[int, int] = {}
        for index in batch.labels.tolist():
            counts[index] = counts.get(index, 0) + 1
        for index, count in counts.items():
            self._predictions[index].inc(count)
        for confidence in batch.confidences.tolist():
            self._confidence.observe(confidence)

    def answered(self, status: int) -> None:
        """Count an answer of a prediction endpoint."""
        counter = self._statuses.get(status)
        if counter is None:
            counter = self._statuses[status] = self._server.requests.labels(*self._labels, str(status))
        self._deferred.add(counter.inc)

    def images_accepted(self, tags: Mapping[str, str], count: int) -> None:
        """Count images, or predictions of another server, that were logged: of the model and of each slice."""
        self._deferred.add(self._count_accepted, tags, count)

    def _count_accepted(self, tags: Mapping[str, str], count: int) -> None:
        self._accepted.inc(count)
        for name in self._slices.names(tags):
            self._server.images_accepted.labels(*self._labels, name).inc(count)

    def images_refused(self, reason: str, tags: Mapping[str, str], count: int) -> None:
        """Count images, or predictions of another server, that were refused: of the model and of each slice."""
        for name in (WHOLE_MODEL, *self._slices.names(tags)):
            self._server.images_refused.labels(*self._labels, name, reason).inc(count)

    def images_abandoned(self, count: int) -> None:
        """Count images whose client had gone before their answer."""
        self._abandoned.inc(count)

    def stage_total(self, stage: str) -> StageTotal:
        """Return how often this process has passed a stage, and the seconds that it has spent there."""
        labels = dict(zip(("model", "version"), self._labels, strict=True)) | {"stage": stage}
        count = _sample(self._server.seconds, "tidemark_predict_seconds_count", labels)
        return StageTotal(int(count), _sample(self._server.seconds, "tidemark_predict_seconds_sum", labels))

    def images_run(self) -> int:
        """Return how many images this process has run the model on."""
        labels = dict(zip(("model", "version"), self._labels, strict=True))
        return int(_sample(self._server.batch_size, "tidemark_batch_size_sum", labels))

    def failed_requests(self) -> int:
        """Return how many requests to predict this process has answered with an error."""
        return sum(
            int(_sample(counter, "tidemark_predict_requests_total", {}))
            for status, counter in self._statuses.items()
            if status != 200
        )

    def dropped(self, count: int) -> None:
        """Count images that this model did not receive in shadow."""
        self._shadow_dropped.inc(count)


def _sample(metric: Counter | Histogram, name: str, labels: Mapping[str, str]) -> float:
    """Return one value of a metric of this process; 0 if there is none yet."""
    samples = (sample for family in metric.collect() for sample in family.samples)
    return next((sample.value for sample in samples if sample.name == name and sample.labels == labels), 0.0)


def shared_among_workers(environment: Mapping[str, str]) -> bool:
    """Return whether several workers add their counts up."""
    return MULTIPROCESS_FOLDER in environment


def _forget_dead_workers(folder: Path) -> None:
    """Drop the gauges of workers that have ended, by kill -9 as well; what they counted stays."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
