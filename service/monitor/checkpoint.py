"""The state of a stream as the bytes of its checkpoint, from which the log is replayed after a restart."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray

from ..drift import StreamDetector
from ..store.arrays import pack, unpack
from ..store.stream_status import StatusJson, StreamStatus
from . import further_shift_checkpoint, pending_windows
from .further_shift_checkpoint import FurtherShiftWatchJson
from .further_shift_watch import StoredDetector
from .incident_state import Alarm, AlarmJson, Incident, IncidentJson
from .label_regimes import RegimeJson, regimes_from_json
from .labels import LabelJson, LabelState, start_labels
from .pace import Pace, PaceJson
from .pending_windows import PendingJson
from .prepared_reference import BaselineKey, PreparedReference
from .recurrence import Pattern, PatternJson
from .slices import SliceCounts
from .stream_state import StreamState, WindowSchedule

VERSION = 1
DETECTOR, LABELS = "detector.", "labels."  # prefixes of the arrays of a stream's detector and of its labels


class ScheduleJson(TypedDict):
    """The requested windows."""

    start: int
    covered: int
    requested_at: str | None
    requested: NotRequired[int]


class CheckpointJson(TypedDict):
    """All of a stream's state but the arrays; keys that are not required are missing where an earlier version wrote."""

    version: int
    key: tuple[int, int | None, int | None]
    counts: SliceCounts
    rejected: Mapping[str, int]
    pace: NotRequired[PaceJson | None]
    key_text: str
    slice: str
    seen: int
    labels: LabelJson | None
    alarm: AlarmJson | None
    second_alarm: NotRequired[AlarmJson | None]
    further: NotRequired[FurtherShiftWatchJson | None]
    pending: NotRequired[Sequence[PendingJson]]
    incident: IncidentJson | None
    concept: IncidentJson | None
    windows: ScheduleJson
    proportions: Sequence[float] | None
    fall: NotRequired[float]
    regimes: NotRequired[Sequence[RegimeJson]]
    regime_falls: NotRequired[Sequence[float]]
    patterns: NotRequired[Sequence[PatternJson]]
    rate_points: Sequence[tuple[float, int]]
    status: StatusJson


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it was stored.

    Parameters
    ----------
    key : BaselineKey
        What the stream was compared with.
    values : CheckpointJson
        All but the arrays, as JSON values.
    arrays : dict
        The arrays of the detector, of the labels and of the newest predictions.
    """

    key: BaselineKey
    values: CheckpointJson
    arrays: dict[str, NDArray[Any]]

    @property
    def counts(self) -> SliceCounts:
        """The counters that assign predictions to slices; of the whole model's stream only."""
        return self.values["counts"]

    @property
    def pace(self) -> Pace:
        """The rate of the model, of its whole stream only; that of a new model if an earlier version wrote it."""
        values = self.values.get("pace")
        return Pace.from_json(values) if values else Pace()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Checkpoint | None":
        """Return the checkpoint that `to_bytes` gave, or None if another version wrote it."""
        arrays = unpack(data)
        values: CheckpointJson = orjson.loads(arrays.pop("values").tobytes())
        if values["version"] != VERSION:
            return None
        return cls(BaselineKey(*values["key"]), values, arrays)


def to_bytes(
    state: StreamState,
    key: BaselineKey,
    counts: SliceCounts,
    rejected: Mapping[str, int],
    pace: Pace | None = None,
) -> bytes:
    """Return a stream's state; the calibration of its detector is left out, for it belongs to the baseline."""
    detector = StoredDetector.of(state.detector)
    arrays: dict[str, ArrayLike | None] = {DETECTOR + name: value for name, value in detector.state.items()}
    further_arrays, further = further_shift_checkpoint.to_arrays(state.further)
    arrays |= further_arrays
    arrays["recent"] = state.recent
    arrays["confidences"] = state.confidences
    labels: LabelJson | None = None
    if state.labels is not None:
        label_arrays, labels = state.labels.to_arrays()
        arrays |= {LABELS + name: value for name, value in label_arrays.items()}
    values: CheckpointJson = {
        "version": VERSION,
        "key": (key.reference_id, key.calibration_id, key.baseline_id),
        "counts": counts,
        "rejected": rejected,
        "pace": pace.to_json() if pace else None,
        "key_text": state.key,
        "slice": state.slice,
        "seen": state.seen,
        "labels": labels,
        "alarm": state.alarm.to_json() if state.alarm else None,
        "second_alarm": state.second_alarm.to_json() if state.second_alarm else None,
        "further": further,
        "pending": pending_windows.to_json(state.pending),
        "incident": state.incident.to_json() if state.incident else None,
        "concept": state.concept.to_json() if state.concept else None,
        "windows": _schedule_json(state.windows),
        "proportions": state.proportions,
        "fall": state.fall,
        "regimes": [regime.to_json() for regime in state.regimes],
        "regime_falls": [regime.fall for regime in state.regimes],
        "patterns": [pattern.to_json() for pattern in state.patterns],
        "rate_points": state.rate_points,
        "status": state.status.to_json(),
    }
    arrays["values"] = np.frombuffer(orjson.dumps(values), np.uint8)
    return pack(arrays)


def restore_state(
    checkpoint: Checkpoint, key: BaselineKey, prepared: PreparedReference, run_time: float, accuracy_tolerance: float
) -> tuple[StreamState, str | None]:
    """Return the state of a checkpoint, and why its evidence starts again, if it does.

    Parameters
    ----------
    key : BaselineKey
        What the stream is compared with now. If it is something else than before, the detector starts again; an
        incident ends with the baseline that was accepted.
    run_time : float
        The expected run time in predictions of the detector.
    accuracy_tolerance : float
        The loss of accuracy that is no harm.
    """
    values, arrays = checkpoint.values, checkpoint.arrays
    same = checkpoint.key == key
    detector, reason = _detector(arrays, prepared, run_time) if same else (None, "its baseline is another one")
    incident = Incident.from_json(values["incident"]) if values["incident"] else None
    accepted = checkpoint.key.baseline_id != key.baseline_id
    second_alarm = values.get("second_alarm")
    state = StreamState(
        key=values["key_text"],
        slice=values["slice"],
        seen=values["seen"],
        detector=prepared.detector(run_time) if detector is None else detector,
        recent=arrays["recent"].reshape(-1, 16),
        labels=_labels(
            arrays, values["labels"], prepared, checkpoint.key.reference_id == key.reference_id, accuracy_tolerance
        ),
        alarm=Alarm.from_json(values["alarm"]) if detector is not None and values["alarm"] else None,
        second_alarm=Alarm.from_json(second_alarm) if second_alarm and not accepted else None,
        further=further_shift_checkpoint.from_arrays(arrays, values.get("further")) if same else None,
        incident=None if accepted else incident,
        concept=Incident.from_json(values["concept"]) if values["concept"] else None,
        windows=_schedule(values["windows"]),
        proportions=tuple(values["proportions"]) if values["proportions"] and same else None,
        confidences=np.asarray(arrays.get("confidences", ()), dtype=np.float32),
        fall=values.get("fall", 0.0),
        regimes=regimes_from_json(values.get("regimes", ()), values.get("regime_falls", ())),
        patterns=tuple(Pattern.from_json(item) for item in values.get("patterns", ())),
        rate_points=tuple((float(time), int(seen)) for time, seen in values["rate_points"]),
        status=StreamStatus.from_json(values["status"]),
    )
    return pending_windows.with_pending(state, values.get("pending", ())), reason


def _detector(
    arrays: Mapping[str, NDArray[Any]], prepared: PreparedReference, run_time: float
) -> tuple[StreamDetector | None, str | None]:
    state = {name.removeprefix(DETECTOR): value for name, value in arrays.items() if name.startswith(DETECTOR)}
    try:
        return prepared.restore_detector(run_time, state), None
    except (ValueError, KeyError) as error:
        return None, str(error)


def _labels(
    arrays: Mapping[str, NDArray[Any]],
    rest: LabelJson | None,
    prepared: PreparedReference,
    same: bool,
    tolerance: float,
) -> LabelState | None:
    if prepared.labelled is None:
        return None
    state = {name.removeprefix(LABELS): value for name, value in arrays.items() if name.startswith(LABELS)}
    if rest is None or not same:
        return start_labels(prepared, tolerance)
    try:
        return LabelState.from_arrays(prepared.labelled, prepared.cluster_scale, state, rest, tolerance)
    except (ValueError, KeyError, TypeError):
        return start_labels(prepared, tolerance)


def _schedule_json(schedule: WindowSchedule) -> ScheduleJson:
    requested_at = schedule.requested_at
    return {
        "start": schedule.start,
        "covered": schedule.covered,
        "requested_at": requested_at.isoformat() if requested_at else None,
        "requested": schedule.requested,
    }


def _schedule(values: ScheduleJson) -> WindowSchedule:
    requested_at = values["requested_at"]
    return WindowSchedule(
        values["start"],
        values["covered"],
        dt.datetime.fromisoformat(requested_at) if requested_at else None,
        values.get("requested", 0),
    )
