"""What held-out training data looks like through a model, and the validation of every array compared with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .label_shift import Calibration

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

MIN_REFERENCE_ROWS = 50
SUM_TOLERANCE = 0.02  # how far a row of float16 probabilities may be from summing to one


@dataclass(frozen=True, eq=False)
class Sample:
    """Predictions that passed validation: float32 arrays with one row a prediction."""

    embeddings: Floats  # (m, d)
    probabilities: Floats  # (m, k)
    properties: Floats | None  # (m, p)

    def __len__(self) -> int:
        return len(self.embeddings)

    def rows(self, index: NDArray[np.generic] | slice) -> "Sample":
        """Return the predictions at `index`."""
        properties = None if self.properties is None else self.properties[index]
        return Sample(self.embeddings[index], self.probabilities[index], properties)


@dataclass(frozen=True, eq=False, init=False)
class Reference:
    """Held-out training data as the model sees it.

    Parameters
    ----------
    embeddings : float (n, d), any float type, n >= 50.
    probabilities : float (n, k), k >= 2, in 0..1, each row summing to one.
    labels : int (n,), the true classes; None where they are not known (then kind and performance are not told).
    properties : float (n, p), image properties such as brightness; optional.
    class_names : k names; "0", "1", ... by default.
    property_names : p names; "property 0", ... by default.

    Raises
    ------
    ValueError
        Not finite, shapes that do not match, probabilities that are none, labels out of range, fewer than 50 rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> reference = Reference(rng.normal(size=(100, 4)), rng.dirichlet([1, 1, 1], 100), labels=rng.integers(0, 3, 100))
    >>> len(reference), reference.classes
    (100, 3)
    """

    embeddings: Floats
    probabilities: Floats
    labels: Integers | None
    properties: Floats | None
    class_names: tuple[str, ...]
    property_names: tuple[str, ...]

    def __init__(
        self,
        embeddings: ArrayLike,
        probabilities: ArrayLike,
        labels: ArrayLike | None = None,
        properties: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        property_names: Sequence[str] | None = None,
    ) -> None:
        rows = _sample(embeddings, probabilities, properties)
        if len(rows) < MIN_REFERENCE_ROWS:
            raise ValueError(f"a reference needs at least {MIN_REFERENCE_ROWS} rows, got {len(rows)}")
        k = rows.probabilities.shape[1]
        p = 0 if rows.properties is None else rows.properties.shape[1]
        values = {
            "embeddings": rows.embeddings,
            "probabilities": rows.probabilities,
            "labels": None if labels is None else _labels(labels, len(rows), k),
            "properties": rows.properties,
            "class_names": _names(class_names, k, "class_names", ""),
            "property_names": _names(property_names, p, "property_names", "property "),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> "Reference":
        """Return the reference that named arrays hold: embeddings, probabilities, and where known the rest.

        Raises
        ------
        ValueError
            As the constructor.
        """
        names = {key: tuple(arrays[key].tolist()) for key in ("class_names", "property_names") if key in arrays}
        return cls(
            arrays["embeddings"], arrays["probabilities"], arrays.get("labels"), arrays.get("properties"), **names
        )

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def classes(self) -> int:
        """The number of classes k."""
        return int(self.probabilities.shape[1])

    @property
    def sample(self) -> Sample:
        """The reference's own rows, as a window of them would be given."""
        return Sample(self.embeddings, self.probabilities, self.properties)

    @cached_property
    def calibration(self) -> Calibration:
        """Bias-corrected temperature scaling of the probabilities, fitted once on the labels (predicted ones where the
        true ones are not known)."""
        labels = self.probabilities.argmax(axis=1) if self.labels is None else self.labels
        return Calibration(self.probabilities, labels)

    def check_probabilities(self, probabilities: ArrayLike) -> Floats:
        """Validate probabilities (m, k) alone, and return them as float32.

        Raises
        ------
        ValueError
            Empty, not finite, rows that are not probability distributions over the reference's classes.
        """
        rows = _probabilities(probabilities)
        if not len(rows):
            raise ValueError("no predictions: the window is empty")
        if rows.shape[1] != self.classes:
            raise ValueError(f"probabilities have {rows.shape[1]} columns, the reference's have {self.classes}")
        return rows

    def check(self, embeddings: ArrayLike, probabilities: ArrayLike, properties: ArrayLike | None = None) -> Sample:
        """Validate predictions against this reference.

        `properties` may be left out; they are dropped where the reference has none.

        Raises
        ------
        ValueError
            Empty, not finite, shapes that do not match each other or the reference, probabilities that are none.
        """
        sample = _sample(embeddings, probabilities, properties)
        if not len(sample):
            raise ValueError("no predictions: the window is empty")
        for name in ("embeddings", "probabilities", "properties"):
            got, want = getattr(sample, name), getattr(self.sample, name)
            if got is not None and want is not None and got.shape[1] != want.shape[1]:
                raise ValueError(f"{name} have {got.shape[1]} columns, the reference's have {want.shape[1]}")
        return sample if self.properties is not None else replace(sample, properties=None)


def _sample(embeddings: ArrayLike, probabilities: ArrayLike, properties: ArrayLike | None) -> Sample:
    e = _matrix("embeddings", embeddings)
    p = _probabilities(probabilities)
    a = None if properties is None else _matrix("properties", properties)
    for name, other in (("probabilities", p), ("properties", a)):
        if other is not None and len(other) != len(e):
            raise ValueError(f"{name} have {len(other)} rows, embeddings have {len(e)}")
    return Sample(e, p, a)


def _probabilities(values: ArrayLike) -> Floats:
    p = _matrix("probabilities", values)
    if p.shape[1] < 2:
        raise ValueError(f"probabilities need at least 2 columns, got {p.shape[1]}")
    if len(p) and (p.min() < -SUM_TOLERANCE or p.max() > 1 + SUM_TOLERANCE):
        raise ValueError(f"probabilities must lie in 0..1, got {p.min():.4g}..{p.max():.4g}")
    worst = float(np.abs(p.sum(axis=1) - 1).max(initial=0))
    if worst > SUM_TOLERANCE:
        raise ValueError(f"each row of probabilities must sum to 1, one is off by {worst:.4g}")
    return np.clip(p, 0, 1)


def _matrix(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, got {array.dtype}")
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"{name} must have two dimensions, rows and columns, got shape {array.shape}")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(matrix).all():
        row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
        raise ValueError(f"{name} hold NaN or infinity (first in row {row})")
    return matrix


def _labels(values: ArrayLike, n: int, k: int) -> Integers:
    labels = np.asarray(values)
    if labels.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    if labels.min() < 0 or labels.max() >= k:
        raise ValueError(f"labels must lie in 0..{k - 1}, got {labels.min()}..{labels.max()}")
    return labels.astype(np.int64)


def _names(names: Sequence[str] | None, count: int, what: str, prefix: str) -> tuple[str, ...]:
    if names is None:
        return tuple(f"{prefix}{i}" for i in range(count))
    if len(names) != count:
        raise ValueError(f"{what} must be {count} names, got {len(names)}")
    return tuple(names)
