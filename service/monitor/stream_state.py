"""The state of one stream between two steps of the monitor, and the predictions that a step processes."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ..drift import StreamDetector
from ..store.prediction_id import time_of
from ..store.stream_status import StreamStatus
from .events import WatchKey, WindowRequest
from .further_shift_watch import FurtherShiftWatch
from .incident_state import Alarm, Incident
from .label_regimes import Regime
from .labels import LabelState
from .recurrence import Pattern

IdRows = NDArray[np.uint8]  # (m, 16), UUIDs as bytes
Floats = NDArray[np.float32]

MAX_RECENT = 5000  # predictions whose ids are kept, to explain an alarm and to date its change
CONFIDENCE_STRIDE = 5  # predictions for each one whose confidence is stored
MAX_CONFIDENCES = 2000  # predictions whose confidence is stored, the newest
RATE_POINTS = 30  # times that the rate is measured over
RATE_INTERVAL = dt.timedelta(seconds=10)  # time between two points of the rate


@dataclass(frozen=True)
class StreamRows:
    """Predictions of one stream, in the order of the log; all of them have passed validation.

    Parameters
    ----------
    ids : uint8 (m, 16)
    scores : float32 (m, D)
        The rows that the detector adds up.
    embeddings, probabilities, properties : float32 (m, d)
        (m, k), (m, p) or None.
    context : float64 (m, c), optional
        The covariates, where what is normal depends on the hour or on tags.
    times : int64 (m,), optional
        Microseconds of the Unix epoch.
    """

    ids: IdRows
    scores: Floats
    embeddings: Floats
    probabilities: Floats
    properties: Floats | None
    context: NDArray[np.float64] | None = None
    times: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, index: slice | NDArray[np.int64]) -> "StreamRows":
        """Return the predictions at `index`."""
        return StreamRows(
            self.ids[index],
            self.scores[index],
            self.embeddings[index],
            self.probabilities[index],
            None if self.properties is None else self.properties[index],
            None if self.context is None else self.context[index],
            None if self.times is None else self.times[index],
        )


@dataclass(frozen=True)
class WindowSchedule:
    """The requested windows of a stream.

    Parameters
    ----------
    start : int
        The number of the stream's predictions before the next window.
    covered : int
        The number of predictions up to the end of the last window.
    requested_at : datetime, optional
        When the last routine window was requested, or the stream started.
    requested : int
        The number of windows that were requested.
    """

    start: int = 0
    covered: int = 0
    requested_at: dt.datetime | None = None
    requested: int = 0


@dataclass(frozen=True)
class StreamState:
    """All that the monitor knows of one stream.

    The detectors and the monitor of labels inside move forward with every step, so that a state must not be used
    again once it was given to `advance`.

    Parameters
    ----------
    key : str
        What the ids of the stream's incidents are derived from.
    slice : str
        The name of the slice, empty for the whole model.
    seen : int
        The number of predictions processed.
    detector : StreamDetector
        The sequential detector against the stream's baseline.
    recent : uint8 (at most 5000, 16)
        The ids of the newest predictions.
    proportions : tuple of float, optional
        The class proportions that the last window estimated.
    fall : float
        The fall of the accuracy that the last window's estimate without labels allows for.
    regimes : tuple of Regime
        When the images had drifted, and how.
    confidences : float32 (at most 2000,)
        Calibrated confidence of each fifth of the newest predictions, for streams whose reference has true labels.
    further : FurtherShiftWatch, optional
        The watch for further shifts, while an incident is open.
    second_alarm : Alarm, optional
        An alarm of its detector that no window has explained yet.
    pending : tuple of WindowRequest
        The windows that were requested and are not answered.
    concept : Incident, optional
        The incident that labels raised.
    patterns : tuple of Pattern
        What the incidents that are over looked like, the newest last.
    """

    key: str
    slice: str
    seen: int
    detector: StreamDetector
    recent: IdRows = field(default_factory=lambda: np.zeros((0, 16), np.uint8))
    labels: LabelState | None = None
    alarm: Alarm | None = None
    incident: Incident | None = None
    further: FurtherShiftWatch | None = None
    second_alarm: Alarm | None = None
    pending: tuple[WindowRequest, ...] = ()
    concept: Incident | None = None
    windows: WindowSchedule = WindowSchedule()
    proportions: tuple[float, ...] | None = None
    fall: float = 0.0
    regimes: tuple[Regime, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    confidences: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    rate_points: tuple[tuple[float, int], ...] = ()
    point_at: dt.datetime | None = None
    status: StreamStatus = field(default_factory=StreamStatus)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of drift whose alerts fire."""
        return tuple(item.kind for item in (self.incident, self.concept) if item is not None and item.open)

    @property
    def since(self) -> dt.datetime | None:
        """When the change began that the oldest firing alert is about."""
        times = [item.since for item in (self.incident, self.concept) if item is not None and item.open]
        return min(times, default=None)

    @property
    def watch(self) -> tuple[WatchKey | None, bool]:
        """The key of the stream's watch for further shifts, and whether it has alarmed."""
        return None if self.further is None else self.further.key, self.second_alarm is not None

    def with_recent(self, ids: IdRows) -> "StreamState":
        """Return the state with further predictions among the newest."""
        return replace(self, recent=np.concatenate([self.recent, ids])[-MAX_RECENT:])

    def with_confidences(self, probabilities: Floats) -> "StreamState":
        """Return the state with the calibrated confidence of each `CONFIDENCE_STRIDE`-th of the next predictions,
        whatever the steps in which they come."""
        if self.labels is None:
            return self
        sample = probabilities[-self.seen % CONFIDENCE_STRIDE :: CONFIDENCE_STRIDE]
        if not len(sample):
            return self
        confidence = self.labels.monitor.confidence(sample).astype(np.float32)
        return replace(self, confidences=np.concatenate([self.confidences, confidence])[-MAX_CONFIDENCES:])

    def newest(self, count: int, back: int = 0) -> IdRows:
        """Return the ids of the newest `count` predictions, leaving out the last `back` of them."""
        end = len(self.recent) - back
        return self.recent[max(end - count, 0) : max(end, 0)]

    def time_back(self, count: int) -> dt.datetime | None:
        """Return the time of the prediction with which the last `count` begin; None before the first prediction."""
        if not len(self.recent):
            return None
        return time_of(UUID(bytes=self.recent[max(len(self.recent) - max(count, 1), 0)].tobytes()))


def rate_of(points: Sequence[tuple[float, int]]) -> float | None:
    """Return predictions a second between the first and the last (seconds, number of predictions)."""
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return None
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])


def with_rate_point(
    points: tuple[tuple[float, int], ...], seen: int, now: dt.datetime
) -> tuple[tuple[float, int], ...]:
    """Return the points of the rate with one for now, which replaces the last one as long as that is young."""
    point = (now.timestamp(), seen)
    if len(points) >= 2 and point[0] - points[-2][0] < RATE_INTERVAL.total_seconds():
        return (*points[:-1], point)
    return (*points, point)[-RATE_POINTS:]
