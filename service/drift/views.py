"""The four views of a prediction; each sees shifts that the others are blind to."""

from enum import StrEnum

import numpy as np

from .prediction_views import vary
from .reference import Reference
from .samples import Sample
from .types import Float32Array, FloatArray


class View(StrEnum):
    """A view of a prediction."""

    EMBEDDING = "embedding"
    LOG_PROBABILITY = "log_probability"
    PROPERTY = "property"
    SOFT_LABEL = "soft_label"


class Leading(StrEnum):
    """The component that carries the evidence of an alarm: one of the views, or repeats."""

    EMBEDDING = View.EMBEDDING
    LOG_PROBABILITY = View.LOG_PROBABILITY
    PROPERTY = View.PROPERTY
    SOFT_LABEL = View.SOFT_LABEL
    REPEATS = "repeats"

    @classmethod
    def parse(cls, value: str) -> "Leading | None":
        """Return the member of a stored value, also of the letters E, P, A and L of earlier versions; None of ""."""
        letters = {"E": cls.EMBEDDING, "P": cls.LOG_PROBABILITY, "A": cls.PROPERTY, "L": cls.SOFT_LABEL}
        return letters.get(value) or (cls(value) if value else None)


LOG_OFFSET = 1e-4  # added to a probability before its logarithm
MIN_RELATIVE_DEVIATION = 0.1  # share of the median deviation below which a unit counts as dead
MIN_SHARE = 1e-3  # least share of a class in the denominator of the soft labels


class Views:
    """Turns predictions into their views, in the units of a reference.

    The embedding is standardised; the log-probabilities log(p + 1e-4) are standardised; the image properties, if there
    are any, are standardised; soft labels are p / sqrt(pi), pi being the reference's mean probabilities. Deviations
    are floored at 10 % of the median one, so that dead units do not explode; constant properties are left out. For
    log-probabilities, probabilities are rounded to float16, as which they are logged: a saturated softmax in float32
    would differ from the same in float16 by its ties alone.
    """

    def __init__(self, reference: Reference) -> None:
        sample = reference.fitted_sample
        raw = {view: _raw(view, sample) for view in _standardised_views(sample)}
        self._location = {view: rows.mean(axis=0, dtype=np.float64).astype(np.float32) for view, rows in raw.items()}
        self._factor = {view: (1 / _deviations(rows)).astype(np.float32) for view, rows in raw.items()}
        if View.PROPERTY in raw:
            # A property that never varies in the reference, such as the size of images from an array, has no unit in
            # which a difference could be large or small.
            self._factor[View.PROPERTY][~vary(raw[View.PROPERTY], reference.property_names)] = 0
        share = sample.probabilities.mean(axis=0, dtype=np.float64)
        self._root_share = np.sqrt(np.maximum(share, MIN_SHARE)).astype(np.float32)

    def __call__(self, sample: Sample) -> dict[View, Float32Array]:
        """Return each view as float32 (m, columns of the view); no properties, no such view."""
        views: dict[View, Float32Array] = {view: self.standardise(view, sample) for view in _standardised_views(sample)}
        views[View.SOFT_LABEL] = sample.probabilities / self._root_share
        return views

    def standardise(self, view: View, sample: Sample) -> Float32Array:
        """Return one of the standardised views, float32 (m, columns of the view)."""
        rows: Float32Array = _raw(view, sample) - self._location[view]
        rows *= self._factor[view]
        return rows


def rounded_to_float16(probabilities: Float32Array) -> Float32Array:
    """Return values in 0..1 as `astype(np.float16).astype(np.float32)` does, in a twentieth of its time, which it
    spends on subnormal numbers."""
    bits = probabilities.view(np.uint32)
    rounded = ((bits + np.uint32(0x0FFF) + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)).view(np.float32)
    half = np.float32(0.5)  # numbers near it are 2^-24 apart, as float16's subnormal ones are
    return np.where(probabilities < np.float32(2**-14), (probabilities + half) - half, rounded)


def _standardised_views(sample: Sample) -> tuple[View, ...]:
    views = View.EMBEDDING, View.LOG_PROBABILITY
    return views if sample.properties is None else (*views, View.PROPERTY)


def _raw(view: View, sample: Sample) -> Float32Array:
    if view is View.LOG_PROBABILITY:
        logs = rounded_to_float16(sample.probabilities)
        logs += np.float32(LOG_OFFSET)
        return np.asarray(np.log(logs, out=logs))
    if view is View.PROPERTY and sample.properties is not None:
        return sample.properties
    return sample.embeddings


def _deviations(rows: Float32Array) -> FloatArray:
    deviations: FloatArray = rows.std(axis=0, dtype=np.float64)
    alive = deviations[deviations > 0]
    floor = MIN_RELATIVE_DEVIATION * float(np.median(alive)) if len(alive) else 1.0
    return np.maximum(deviations, floor)
