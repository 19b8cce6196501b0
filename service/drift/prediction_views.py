"""The columns of predictions that the window test compares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .principal_components import MAX_DIMENSIONS, Projection
from .reference import Reference
from .samples import Sample
from .types import BoolArray, Float32Array, FloatArray, IntArray

ViewName = Literal["embedding", "log_probability", "property", "soft_label", "predicted_label"]

LOG_OFFSET = 1e-4  # added to a probability before its logarithm
SIZES = ("width", "height", "bytes", "byte_size")  # properties that are compared by their ratios, on a log scale
MIN_RELATIVE_SPREAD = 1e-6  # deviation, relative to the mean, below which a property counts as constant
MIN_SIZE_SPREAD = 0.02  # the same of a size: cameras and crops differ by a pixel here and there, which says nothing


@dataclass(frozen=True, eq=False)
class PredictionViews:
    """Predictions as the window test compares them, a row each; nothing here depends on the window.

    Attributes
    ----------
    embedding : float32 (m, d)
        The embeddings, or the components (m, r) of embeddings wider than 512.
    probabilities : float32 (m, k)
        Rounded to float16, as which they are logged.
    properties : float32 (m, p)
        The properties that vary in the reference, sizes as logarithms; None without any.
    """

    embedding: Float32Array
    probabilities: Float32Array
    properties: Float32Array | None

    def __len__(self) -> int:
        return len(self.embedding)

    @property
    def predicted(self) -> IntArray:
        """The predicted class of each row, int64 (m,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    def rows(self, index: IntArray) -> "PredictionViews":
        """Return the rows at `index`."""
        properties = None if self.properties is None else self.properties[index]
        return PredictionViews(self.embedding[index], self.probabilities[index], properties)

    def joined(self, other: "PredictionViews") -> "PredictionViews":
        """Return these rows followed by those of `other`; properties only if both have them."""
        properties = None
        if self.properties is not None and other.properties is not None:
            properties = np.concatenate([self.properties, other.properties])
        return PredictionViews(
            np.concatenate([self.embedding, other.embedding]),
            np.concatenate([self.probabilities, other.probabilities]),
            properties,
        )


class ViewBuilder:
    """Turns predictions into the views of one reference.

    Parameters
    ----------
    reference : Reference
        Decides which properties vary, and so are compared.
    held_out : int (h,)
        Rows of the reference that take no part in the tests. Embeddings wider than 512 are projected on components that
        are fitted on these rows.
    """

    def __init__(self, reference: Reference, held_out: IntArray) -> None:
        wide = reference.embeddings.shape[1] > MAX_DIMENSIONS
        self._projection = Projection(reference.embeddings[held_out]) if wide else None
        names = np.array(reference.property_names)
        self._sizes: BoolArray = np.isin(names, SIZES)
        self.varying: BoolArray = np.zeros(len(names), dtype=bool)  # (p,) properties that are compared
        if reference.properties is not None:
            self.varying = vary(reference.properties, reference.property_names)

    def __call__(self, sample: Sample) -> PredictionViews:
        """Return the views of validated predictions."""
        properties = None
        if sample.properties is not None and self.varying.any():
            properties = self.scaled(sample.properties)[:, self.varying].astype(np.float32)
        embedding = sample.embeddings if self._projection is None else self._projection(sample.embeddings)
        return PredictionViews(embedding, sample.probabilities.astype(np.float16).astype(np.float32), properties)

    def scaled(self, properties: Float32Array) -> FloatArray:
        """Return properties (m, p) with sizes as natural logarithms."""
        scaled = properties.astype(np.float64)
        scaled[:, self._sizes] = np.log(np.maximum(scaled[:, self._sizes], 1e-6))
        return scaled


def vary(properties: Float32Array, names: Sequence[str]) -> BoolArray:
    """Return for each property (p,) whether its rows (n, p) vary: by more than rounding, and sizes by more than a pixel
    here and there."""
    deviation = properties.std(axis=0, dtype=np.float64)
    scale = np.abs(properties).mean(axis=0, dtype=np.float64)
    least = np.where(np.isin(names, SIZES), MIN_SIZE_SPREAD, MIN_RELATIVE_SPREAD)
    return np.asarray(deviation > least * np.maximum(scale, MIN_RELATIVE_SPREAD))
