"""A stream of the monitor whose labels come back, without a database: its predictions are drawn, not made."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from tidemark.drift import DetectorScores, Reference, StreamDetector, WindowTest
from tidemark.monitor.events import AlertChanged, AlertFired, AlertResolved, Event, Explanation
from tidemark.monitor.incident_state import Incident, incident_id
from tidemark.monitor.labels import FedBackLabels
from tidemark.monitor.model_state import new_stream
from tidemark.monitor.pace import Pace
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference
from tidemark.monitor.stream_state import StreamState
from tidemark.monitor.stream_step import advance_stream
from tidemark.monitor.stream_transition import StreamInput
from tidemark.settings import Settings
from tidemark.store.prediction_id import id_at

CLASSES = 5
EMBEDDING = 16  # numbers of an embedding
RUN_TIME = 100_000.0
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def answers(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (m, k), and true classes that calibrated confidence is right about; accuracy .93."""
    labels = rng.integers(0, CLASSES, count)
    logits = rng.normal(0, 1, (count, CLASSES))
    logits[np.arange(count), labels] += 5.5
    powers = np.exp(logits * rng.uniform(0.35, 1.4, (count, 1)))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    true_labels = (probabilities.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return probabilities.astype(np.float32), true_labels


@cache
def prepared_reference(count: int = 3000) -> PreparedReference:
    """Return a reference whose embeddings say nothing, with a detector of no use; made once."""
    rng = np.random.default_rng(0)
    probabilities, labels = answers(count, rng)
    reference = Reference(rng.normal(size=(count, EMBEDDING)), probabilities, labels=labels)
    scores = DetectorScores(reference)
    calibration = StreamDetector(reference, RUN_TIME, scores=scores).calibration()
    return PreparedReference(BaselineKey(1), reference, scores, calibration, lambda: WindowTest(reference, 200))


class LabelledStream:
    """A stream that one of ten predictions of is labelled, in batches of ten labels."""

    def __init__(self, prepared: PreparedReference, seed: int = 1, **settings: Any) -> None:
        self.prepared, self.settings = prepared, Settings(**{"expected_run_time": RUN_TIME} | settings)
        self.rng = np.random.default_rng(seed)
        self.state: StreamState = replace(
            new_stream(1, "", prepared, self.settings), recent=np.zeros((50, 16), np.uint8), seen=50
        )
        self.now = START
        self.events: list[Event] = []
        self.labels = 0

    def drift(self, kind: str) -> None:
        """Open an incident of the images."""
        self.state = replace(
            self.state,
            incident=Incident(
                incident_id("1", kind, 0, self.now), kind, "sure", "ticket", self.now, 10, 0, 9.0, self.state.seen
            ),
        )

    def recover(self) -> None:
        """End the incident of the images."""
        assert self.state.incident is not None
        self.state = replace(self.state, incident=replace(self.state.incident, resolved_at=self.now))

    def label(
        self, count: int, wrong: float = 0.0, until: type | None = None, batch: int = 10, **options: Any
    ) -> int | None:
        """Send labels back, of which a share is changed; return after how many an event of a type came, or None."""
        for first in range(0, count, batch):
            probabilities, labels = answers(batch, self.rng)
            labels = np.where(self.rng.random(batch) < wrong, (labels + 1) % CLASSES, labels)
            self.send(probabilities, labels, **options)
            if until is not None and self.of(until):
                return first + batch
        return None

    def send(
        self,
        probabilities: np.ndarray,
        labels: np.ndarray,
        ids: np.ndarray | None = None,
        is_first: np.ndarray | None = None,
        at: dt.datetime | None = None,
        predictions: int | None = None,
        embeddings: np.ndarray | None = None,
    ) -> np.ndarray:
        """Send a batch of labels back; return the ids of their predictions."""
        m = len(labels)
        self.now += dt.timedelta(seconds=m)
        self.labels += m
        self.state = replace(self.state, seen=self.state.seen + (10 * m if predictions is None else predictions))
        moment = int((at or self.now).timestamp() * 1000)
        if ids is None:
            keys = [id_at(moment, self.rng.bytes(10)).bytes for _ in range(m)]
            ids = np.frombuffer(b"".join(keys), np.uint8).reshape(m, 16)
        first = np.ones(m, bool) if is_first is None else is_first
        if embeddings is None:
            embeddings = self.rng.normal(size=(m, EMBEDDING)).astype(np.float32)
        predicted, sources = probabilities.argmax(axis=1), np.zeros(m, np.int64)
        self.advance(labels=FedBackLabels(ids, predicted, probabilities, labels, first, embeddings, sources))
        return ids

    def advance(self, **incoming: Any) -> None:
        """Make a step; windows that it requests are answered at once, without a test."""
        transition = self._step(StreamInput(**incoming))
        while transition.requests:
            explanations = tuple(Explanation(request, None, self.now, self.now) for request in transition.requests)
            transition = self._step(StreamInput(explanations=explanations))

    def of(self, *kinds: type) -> list[Any]:
        """Return the events of some types so far."""
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def alerts(self) -> list[tuple[str, str]]:
        """The type and the kind or reason of each event of an alert, in order."""
        names: dict[type, Callable[[Any], tuple[str, str]]] = {
            AlertFired: lambda event: ("fired", event.kind),
            AlertChanged: lambda event: ("changed", event.reason),
            AlertResolved: lambda event: ("resolved", event.resolution),
        }
        return [names[type(event)](event) for event in self.events if type(event) in names]

    def _step(self, stream_input: StreamInput) -> Any:
        transition = advance_stream(self.state, stream_input, self.prepared, self.settings, Pace(), self.now)
        self.state = transition.state
        self.events += transition.events
        return transition
