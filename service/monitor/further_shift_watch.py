"""The watch for further shifts during an incident: a second detector, compared with the traffic since the change."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike

from ..drift import StreamDetector
from ..store.further_shift_status import FurtherShiftStatus
from ..store.log_batch import PredictionBatch
from .events import BaselineRequest, IdRows, WatchKey
from .prepared_reference import PreparedReference
from .step_retries import MAX_STEP

MAX_WAITING = 20_000  # predictions that wait at most for the second detector; older ones are counted as missed
MAX_CAUGHT_UP = 2 * MAX_STEP  # waiting predictions that one step reads: more than can come in meanwhile


@dataclass(frozen=True)
class SecondDetector:
    """The detector of further shifts, which moves forward with every step, and the baseline that it is of."""

    prepared: PreparedReference
    detector: StreamDetector


class StoredDetector(NamedTuple):
    """A second detector as its checkpoint holds it, until its baseline is prepared again.

    Parameters
    ----------
    calibration : mapping
        The result of the simulation, which need not be repeated.
    state : mapping
        What the predictions have changed.
    """

    calibration: Mapping[str, ArrayLike]
    state: Mapping[str, ArrayLike]

    @classmethod
    def of(cls, detector: StreamDetector) -> "StoredDetector":
        """Return what a checkpoint holds of a detector."""
        calibration = detector.calibration()
        return cls(calibration, {name: value for name, value in detector.state().items() if name not in calibration})


@dataclass(frozen=True)
class PreparationFailure:
    """The reason why the baseline of a second detector could not be prepared, and the time of the failure."""

    reason: str
    at: dt.datetime


def _no_ids() -> IdRows:
    return np.zeros((0, 16), np.uint8)


@dataclass(frozen=True)
class FurtherShiftWatch:
    """The watch for further shifts of one incident.

    The second detector processes every prediction of the stream after the first `start`, in order and once. Those that
    come while its baseline is prepared, or prepared again after a restart, wait by their ids and are then read from the
    log: the evidence depends neither on how long the preparation takes nor on restarts.

    Parameters
    ----------
    incident_id : UUID
        The incident whose further shifts are sought.
    start : int
        The number of the stream's predictions before the first one that the detector processes.
    baseline_ids : uint8 (at most 2000, 16)
        The predictions since the change, up to the start, that the detector is compared with.
    second : SecondDetector, optional
        The detector; None until its baseline is prepared.
    stored : StoredDetector, optional
        What the last checkpoint holds of the detector, until its baseline is prepared again.
    waiting : uint8 (at most 20,000, 16)
        The predictions that the detector has still to process, in the order of the stream.
    missed : int, default 0
        The predictions that it will never process: too many waited, or they have gone from the log.
    failure : PreparationFailure, optional
        Why there is no detector.
    """

    incident_id: UUID
    start: int
    baseline_ids: IdRows
    second: SecondDetector | None = None
    stored: StoredDetector | None = None
    waiting: IdRows = field(default_factory=_no_ids)
    missed: int = 0
    failure: PreparationFailure | None = None

    @property
    def key(self) -> WatchKey:
        """The key of the watch, which earlier ones of the stream do not share."""
        return WatchKey(self.incident_id, self.start)

    @property
    def needs_baseline(self) -> bool:
        """Whether the baseline is to be prepared."""
        return self.second is None and self.failure is None

    @property
    def next_ids(self) -> IdRows:
        """The predictions that the detector processes next, of those that wait."""
        return self.waiting[:MAX_CAUGHT_UP]

    @property
    def offset(self) -> int:
        """The predictions of the stream that are not among those that the detector counts."""
        return self.start + self.missed

    @property
    def status(self) -> FurtherShiftStatus:
        """What readers see of the watch."""
        if self.failure is not None:
            return FurtherShiftStatus("failed", len(self.waiting), self.missed, self.failure.reason)
        if self.second is None:
            return FurtherShiftStatus("preparing", len(self.waiting), self.missed)
        return FurtherShiftStatus("catching_up" if len(self.waiting) else "watching", len(self.waiting), self.missed)

    def request(self, slice_name: str) -> BaselineRequest:
        """Return the request of the baseline, for the watch of a stream by the name of its slice."""
        calibration = None if self.stored is None else self.stored.calibration
        return BaselineRequest(slice_name, self.key, self.baseline_ids, calibration)

    def with_waiting(self, ids: IdRows) -> "FurtherShiftWatch":
        """Return the watch with further predictions that wait; the oldest beyond `MAX_WAITING` are missed."""
        waiting = np.concatenate([self.waiting, ids])
        excess = max(len(waiting) - MAX_WAITING, 0)
        return replace(self, waiting=waiting[excess:], missed=self.missed + excess)

    def caught_up(self, count: int, processed: int) -> "FurtherShiftWatch":
        """Return the watch after the first `count` of the waiting predictions, of which `processed` were in the log."""
        return replace(self, waiting=self.waiting[count:], missed=self.missed + count - processed)


@dataclass(frozen=True)
class FurtherShiftInput:
    """What came in for the watch for further shifts of a stream.

    Parameters
    ----------
    key : WatchKey
        The watch that it is for; it is ignored if the stream has another one by now.
    baseline : PreparedReference or PreparationFailure, optional
        The prepared baseline, or why it could not be prepared.
    count : int, default 0
        The waiting predictions that were sought in the log, the next ones.
    batch : PredictionBatch, optional
        Those of them that the log has, in the order of the stream.
    """

    key: WatchKey
    baseline: PreparedReference | PreparationFailure | None = None
    count: int = 0
    batch: PredictionBatch | None = None
