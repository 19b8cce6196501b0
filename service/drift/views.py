"""The four views of a prediction; each sees shifts that the others are blind to."""

from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .reference import Reference, Sample

View = Literal["E", "P", "A", "L"]


class Leading(StrEnum):
    """What carries the evidence of an alarm: one of the views, or repeats."""

    EMBEDDING = "embedding"
    LOG_PROBABILITY = "log_probability"
    PROPERTY = "property"
    SOFT_LABEL = "soft_label"
    REPEATS = "repeats"

    @classmethod
    def of(cls, value: str) -> "Leading | None":
        """Return the member of a stored value, also of the letters E, P, A and L of earlier versions; None of ""."""
        letters = {"E": cls.EMBEDDING, "P": cls.LOG_PROBABILITY, "A": cls.PROPERTY, "L": cls.SOFT_LABEL}
        return letters.get(value) or (cls(value) if value else None)


LOG_OFFSET = 1e-4  # added to a probability before its logarithm
MIN_RELATIVE_DEVIATION = 0.1  # of the median deviation: below it a unit counts as dead
MIN_SHARE = 1e-3  # of a class, in the denominator of the soft counts


class Views:
    """Turns predictions into their views, in the units of a reference.

    E: embeddings, standardised; P: log(p + 1e-4), standardised; A: image properties, standardised (where there are
    some); L: soft label counts p / sqrt(pi), pi being the reference's mean probabilities. Deviations are floored at
    10 % of the median one, so that dead units do not explode. For P probabilities are rounded to float16, as which
    they are logged: a saturated softmax in float32 would differ from the same in float16 by its ties alone.
    """

    def __init__(self, reference: Reference) -> None:
        raw = _raw(reference.sample)
        self._location = {view: rows.mean(axis=0, dtype=np.float64).astype(np.float32) for view, rows in raw.items()}
        self._factor = {view: (1 / _deviations(rows)).astype(np.float32) for view, rows in raw.items()}
        share = reference.probabilities.mean(axis=0, dtype=np.float64)
        self._root_share = np.sqrt(np.maximum(share, MIN_SHARE)).astype(np.float32)

    def __call__(self, sample: Sample) -> dict[View, NDArray[np.float32]]:
        """Return each view as float32 (m, columns of the view); A is missing where `sample` has no properties."""
        views: dict[View, NDArray[np.float32]] = {
            view: (rows - self._location[view]) * self._factor[view] for view, rows in _raw(sample).items()
        }
        views["L"] = sample.probabilities / self._root_share
        return views


def rounded_to_float16(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values in 0..1 as `astype(np.float16).astype(np.float32)` does, in a twentieth of its time, which it
    spends on subnormal numbers."""
    bits = probabilities.view(np.uint32)
    rounded = ((bits + np.uint32(0x0FFF) + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)).view(np.float32)
    half = np.float32(0.5)  # numbers near it are 2^-24 apart, as float16's subnormal ones are
    return np.where(probabilities < np.float32(2**-14), (probabilities + half) - half, rounded)


def _raw(sample: Sample) -> dict[View, NDArray[np.float32]]:
    views: dict[View, NDArray[np.float32]] = {
        "E": sample.embeddings,
        "P": np.log(rounded_to_float16(sample.probabilities) + np.float32(LOG_OFFSET)),
    }
    if sample.properties is not None:
        views["A"] = sample.properties
    return views


def _deviations(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    deviations: NDArray[np.float64] = rows.std(axis=0, dtype=np.float64)
    alive = deviations[deviations > 0]
    floor = MIN_RELATIVE_DEVIATION * float(np.median(alive)) if len(alive) else 1.0
    return np.maximum(deviations, floor)
