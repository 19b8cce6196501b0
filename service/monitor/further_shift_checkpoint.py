"""The watch for further shifts as a part of its stream's checkpoint; its baseline is prepared again from the log."""

from collections.abc import Mapping
from typing import Any, TypedDict
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .further_shift_watch import FurtherShiftWatch, StoredDetector

BASELINE_IDS, WAITING = "further.baseline_ids", "further.waiting"  # names of arrays
CALIBRATION, DETECTOR = "further.calibration.", "further.detector."  # prefixes of the arrays of the detector


class FurtherShiftWatchJson(TypedDict):
    """What a checkpoint holds of the watch next to its arrays."""

    incident_id: str
    start: int
    missed: int


def to_arrays(watch: FurtherShiftWatch | None) -> tuple[dict[str, ArrayLike], FurtherShiftWatchJson | None]:
    """Return the watch as arrays and JSON values; nothing without one, or if its baseline could not be prepared."""
    if watch is None or watch.failure is not None:
        return {}, None
    arrays: dict[str, ArrayLike] = {BASELINE_IDS: watch.baseline_ids, WAITING: watch.waiting}
    stored = watch.stored if watch.second is None else StoredDetector.of(watch.second.detector)
    if stored is not None:
        arrays |= {CALIBRATION + name: value for name, value in stored.calibration.items()}
        arrays |= {DETECTOR + name: value for name, value in stored.state.items()}
    return arrays, {"incident_id": str(watch.incident_id), "start": watch.start, "missed": watch.missed}


def from_arrays(arrays: Mapping[str, NDArray[Any]], values: FurtherShiftWatchJson | None) -> FurtherShiftWatch | None:
    """Return the watch that `to_arrays` gave; None without one, or where an earlier version wrote the checkpoint."""
    if values is None:
        return None
    calibration, state = _with_prefix(arrays, CALIBRATION), _with_prefix(arrays, DETECTOR)
    return FurtherShiftWatch(
        UUID(values["incident_id"]),
        values["start"],
        np.asarray(arrays[BASELINE_IDS], np.uint8).reshape(-1, 16),
        stored=StoredDetector(calibration, state) if state else None,
        waiting=np.asarray(arrays[WAITING], np.uint8).reshape(-1, 16),
        missed=values["missed"],
    )


def _with_prefix(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, ArrayLike]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
