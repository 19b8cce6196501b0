"""The state of a stream as the bytes of its checkpoint, from which the log is replayed after a restart."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray

from ..drift import StreamDetector
from ..store.arrays import pack, unpack
from ..store.stream_status import StreamStatus
from .incident_state import Alarm, Incident
from .label_regimes import Regime
from .labels import LabelState, start_labels
from .pace import Pace
from .prepared_reference import BaselineKey, PreparedReference
from .recurrence import Pattern
from .state import StreamState, WindowSchedule

VERSION = 1
DETECTOR, LABELS = "detector.", "labels."  # prefixes of the arrays of a stream's detector and of its labels


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it was stored.

    Parameters
    ----------
    key : BaselineKey
        What the stream was compared with.
    values : dict
        All but the arrays, as JSON values.
    arrays : dict
        The arrays of the detector, of the labels and of the newest predictions.
    """

    key: BaselineKey
    values: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def counts(self) -> dict[str, Any]:
        """The counters that assign predictions to slices; of the whole model's stream only."""
        counts: dict[str, Any] = self.values["counts"]
        return counts

    @property
    def pace(self) -> Pace:
        """The rate of the model, of its whole stream only; that of a new model if an earlier version wrote it."""
        values = self.values.get("pace")
        return Pace.from_json(values) if values else Pace()

    @classmethod
    def of(cls, data: bytes) -> "Checkpoint | None":
        """Return the checkpoint that `to_bytes` gave, or None if another version wrote it."""
        arrays = unpack(data)
        values = orjson.loads(arrays.pop("values").tobytes())
        if values["version"] != VERSION:
            return None
        return cls(BaselineKey(*values["key"]), values, arrays)


def to_bytes(
    state: StreamState,
    key: BaselineKey,
    counts: Mapping[str, Any],
    rejected: Mapping[str, int],
    pace: Pace | None = None,
) -> bytes:
    """Return a stream's state; the calibration of its detector is left out, for it belongs to the baseline."""
    detector = state.detector.state()
    calibration = state.detector.calibration().keys()
    arrays: dict[str, ArrayLike | None] = {
        DETECTOR + name: value for name, value in detector.items() if name not in calibration
    }
    arrays["recent"] = state.recent
    arrays["confidences"] = state.confidences
    labels: dict[str, Any] | None = None
    if state.labels is not None:
        label_arrays, labels = state.labels.to_arrays()
        arrays |= {LABELS + name: value for name, value in label_arrays.items()}
    values = {
        "version": VERSION,
        "key": list(key),
        "counts": counts,
        "rejected": rejected,
        "pace": pace.to_json() if pace else None,
        "key_text": state.key,
        "slice": state.slice,
        "seen": state.seen,
        "labels": labels,
        "alarm": asdict(state.alarm) if state.alarm else None,
        "incident": state.incident.to_json() if state.incident else None,
        "concept": state.concept.to_json() if state.concept else None,
        "windows": asdict(state.windows),
        "proportions": state.proportions,
        "regimes": [regime.to_json() for regime in state.regimes],
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
    schedule = values["windows"]
    requested_at = schedule["requested_at"]
    incident = Incident.from_json(values["incident"]) if values["incident"] else None
    accepted = checkpoint.key.baseline_id != key.baseline_id
    state = StreamState(
        key=values["key_text"],
        slice=values["slice"],
        seen=values["seen"],
        detector=prepared.detector(run_time) if detector is None else detector,
        recent=arrays["recent"].reshape(-1, 16),
        labels=_labels(
            arrays, values["labels"], prepared, checkpoint.key.reference_id == key.reference_id, accuracy_tolerance
        ),
        alarm=_alarm(values["alarm"]) if detector is not None and values["alarm"] else None,
        incident=None if accepted else incident,
        concept=Incident.from_json(values["concept"]) if values["concept"] else None,
        windows=WindowSchedule(
            **schedule | {"requested_at": dt.datetime.fromisoformat(requested_at) if requested_at else None}
        ),
        proportions=tuple(values["proportions"]) if values["proportions"] and same else None,
        confidences=np.asarray(arrays.get("confidences", ()), dtype=np.float32),
        regimes=tuple(Regime.from_json(item) for item in values.get("regimes", ())),
        patterns=tuple(Pattern.from_json(item) for item in values.get("patterns", ())),
        rate_points=tuple((float(time), int(seen)) for time, seen in values["rate_points"]),
        status=StreamStatus.from_json(values["status"]),
    )
    return state, reason


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
    rest: dict[str, Any] | None,
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
        return LabelState.of(prepared.labelled, prepared.cluster_scale, state, rest, tolerance)
    except (ValueError, KeyError, TypeError):
        return start_labels(prepared, tolerance)


def _alarm(values: dict[str, Any]) -> Alarm:
    """Return an alarm whose window is requested again: the answer to the last request is lost."""
    between = values["change_range"]
    alarm = Alarm(
        **values
        | {
            "detected_at": dt.datetime.fromisoformat(values["detected_at"]),
            "change_range": (between[0], between[1]) if between else None,
        }
    )
    return replace(alarm, requested_at=None, explained=0)
