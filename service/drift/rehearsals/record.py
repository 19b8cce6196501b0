"""The rehearsals of a reference as plain arrays: what was applied, the accuracy under it, and its features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray, IntArray

VERSION = 3  # version of the features; rehearsals of another version are ignored, as if there were none
PREFIX = "rehearsal_"  # prefix of the arrays' names in a reference file
NONE = ""  # name of a second operation that a rehearsal does not have
OPERATIONS = 2  # operations of a rehearsal, at most
MIN_REHEARSALS, MIN_FAMILIES = 12, 3  # rehearsals of single operations, and families, from which estimates are made


class AppliedOperation(NamedTuple):
    """One operation of a rehearsal.

    Attributes
    ----------
    name : str
        Such as "blur".
    family : str
        Operations of one family look alike; intervals come from families that were left out.
    unit : str
        Unit and direction of the magnitude.
    magnitude : float
    """

    name: str
    family: str
    unit: str
    magnitude: float

    def __str__(self) -> str:
        return f"{self.name} {self.magnitude:g} ({self.unit})"


@dataclass(frozen=True)
class Rehearsal:
    """The operations that were applied to the images in one rehearsal.

    Attributes
    ----------
    operations : tuple of AppliedOperation
        One operation, or the two of a mixture in their order.
    severity : int
        0 mild, 1 medium, 2 severe.
    """

    operations: tuple[AppliedOperation, ...]
    severity: int

    @property
    def families(self) -> frozenset[str]:
        """The families of the operations."""
        return frozenset(operation.family for operation in self.operations)

    def __str__(self) -> str:
        return " and ".join(map(str, self.operations))


@dataclass(frozen=True, eq=False)
class Rehearsals:
    """All rehearsals of a reference.

    Attributes
    ----------
    rehearsals : tuple of Rehearsal
        R of them.
    rows : int (I,)
        The reference's rows whose images were used.
    accuracy : float (R,)
        Share of the I images that the model still classifies correctly.
    features : float (1 + R, F)
        The features of the unchanged images and of each rehearsal; see `WindowFeatures`.
    fingerprints : float (1 + R, P)
        Their distributions; see `Fingerprint`.
    mixed_accuracy : float (1 + R, D)
        Accuracy on the unchanged images and under each rehearsal for D draws of the images at other class proportions.
    mixed_features : float (1 + R, D, F)
        Their features.
    left_out : tuple of str
        What of the plan was not rehearsed because the time was up, such as "mild: blur, fog".
    """

    rehearsals: tuple[Rehearsal, ...]
    rows: IntArray
    accuracy: FloatArray
    features: FloatArray
    fingerprints: FloatArray
    mixed_accuracy: FloatArray
    mixed_features: FloatArray
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rehearsals)

    @property
    def families(self) -> tuple[str, ...]:
        """The families among them, in alphabetical order."""
        return tuple(sorted(set().union(*(rehearsal.families for rehearsal in self.rehearsals))))

    @property
    def single(self) -> IntArray:
        """The numbers of the rehearsals of one operation."""
        return np.flatnonzero([len(one.operations) == 1 for one in self.rehearsals])

    @property
    def are_sufficient(self) -> bool:
        """Whether estimates of the accuracy can be made of them."""
        return len(self.single) >= MIN_REHEARSALS and len(self.families) >= MIN_FAMILIES

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return named arrays of numbers and text, of which `from_arrays` makes the same rehearsals."""
        padded = [(*one.operations, *[AppliedOperation(NONE, NONE, NONE, 0)])[:OPERATIONS] for one in self.rehearsals]
        columns = {
            field: np.array([[getattr(operation, field) for operation in row] for row in padded])
            for field in AppliedOperation._fields
        }
        arrays = columns | {
            "severity": np.array([one.severity for one in self.rehearsals]),
            "rows": self.rows,
            "accuracy": self.accuracy,
            "features": self.features,
            "fingerprints": self.fingerprints.astype(np.float32),
            "mixed_accuracy": self.mixed_accuracy,
            "mixed_features": self.mixed_features,
            "left_out": np.array(self.left_out, dtype=np.str_),
            "version": np.array(VERSION),
        }
        return {PREFIX + name: values for name, values in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Rehearsals | None":
        """Return the rehearsals among a reference's arrays; None if there are none, or of another version."""
        values = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
        if "version" not in values or int(values["version"]) != VERSION:
            return None
        fields = [values[field].tolist() for field in AppliedOperation._fields]
        rehearsals = []
        for number, severity in enumerate(values["severity"].tolist()):
            row = [AppliedOperation(*parts) for parts in zip(*(field[number] for field in fields), strict=True)]
            rehearsals.append(Rehearsal(tuple(one for one in row if one.name != NONE), int(severity)))
        return cls(
            rehearsals=tuple(rehearsals),
            rows=values["rows"].astype(np.int64),
            accuracy=values["accuracy"].astype(np.float64),
            features=values["features"].astype(np.float64),
            fingerprints=values["fingerprints"].astype(np.float64),
            mixed_accuracy=values["mixed_accuracy"].astype(np.float64),
            mixed_features=values["mixed_features"].astype(np.float64),
            left_out=tuple(values["left_out"].tolist()) if "left_out" in values else (),
        )


def rehearsal_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return those of a reference's arrays that belong to its rehearsals."""
    return {name: values for name, values in arrays.items() if name.startswith(PREFIX)}
