"""The state of a sequential detector, but for the parts that keep a state of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from .change_point import ChangePoint
from .types import Float32Array, FloatArray, IntArray
from .views import Leading


@dataclass
class DetectorState:
    """The part of a detector that changes with every prediction."""

    pending: Float32Array  # score rows that do not fill a block yet
    pending_ends: IntArray  # predictions up to each pending row
    cumulated: FloatArray  # CUSUMs of the likelihood ratios
    since: IntArray  # number of predictions when each CUSUM was last zero
    count: int = 0
    evidence: float = 0.0  # evidence after the last block, without that of repeats
    drift_detected: bool = False
    leading: Leading | None = None
    change: ChangePoint | None = None
    long_evidence: float = 0.0  # evidence of the longer windows at the last coarse step
    long_group: int = 0

    @classmethod
    def fresh(cls, row_columns: int, ratios: int, count: int) -> "DetectorState":
        """Return the state after `count` predictions without any evidence."""
        pending = np.zeros((0, row_columns), dtype=np.float32), np.zeros(0, dtype=np.int64)
        return cls(*pending, np.zeros(ratios), np.full(ratios, count, dtype=np.int64), count)

    def to_dict(self) -> dict[str, ArrayLike]:
        """Return arrays and scalars."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"leading": str(self.leading or ""), "change": np.array(self.change or (), dtype=np.int64)}

    @classmethod
    def from_dict(cls, values: Mapping[str, ArrayLike]) -> "DetectorState":
        """Return what `to_dict` was called on.

        Raises
        ------
        ValueError
            The values are of an earlier version.
        """
        if "pending_ends" not in values:
            raise ValueError("the state is of an earlier version")
        change = np.asarray(values["change"]).tolist()
        return cls(
            **{name: np.array(values[name]) for name in ("pending", "pending_ends", "cumulated", "since")},
            count=int(np.asarray(values["count"])),
            evidence=float(np.asarray(values["evidence"])),
            drift_detected=bool(np.asarray(values["drift_detected"])),
            leading=Leading.parse(str(np.asarray(values["leading"]))),
            change=ChangePoint(*change) if change else None,
            long_evidence=float(np.asarray(values["long_evidence"])),
            long_group=int(np.asarray(values["long_group"])),
        )
