"""The rows of a reference: which of them tests compare with, and checks of predictions against them."""

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from .samples import Sample, check_probabilities, check_sample, fitted_rows
from .types import Float32Array, IntArray
from .window_repeats import first_rows, repeat_keys

MIN_REFERENCE_ROWS = 50  # rows of a reference; with fewer its tests cannot be calibrated


class ReferenceRows:
    """The validated rows of a reference.

    Attributes
    ----------
    embeddings : float32 (n, d)
    probabilities : float32 (n, k)
    properties : float32 (n, p)
        None without any.
    """

    embeddings: Float32Array
    probabilities: Float32Array
    properties: Float32Array | None

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
    def keys(self) -> IntArray:
        """A number for each row (n,), the same for equal predictions."""
        return repeat_keys(self.sample)

    @cached_property
    def distinct_rows(self) -> IntArray:
        """The rows, ascending, that tests compare with: the first of each group of equal ones.

        A copy tells nothing about other predictions: counted as a row of its own, it would make the reference's error
        look smaller than it is. All rows count in a reference with fewer than 50 different ones.
        """
        distinct = first_rows(self.keys)
        return distinct if len(distinct) >= MIN_REFERENCE_ROWS else np.arange(len(self))

    @cached_property
    def fitted_sample(self) -> Sample:
        """The rows that scales and scores are fitted to: the distinct ones, or 20,000 of them drawn at random."""
        return self.sample.rows(self.fitted_rows)

    @property
    def fitted_rows(self) -> IntArray:
        """The numbers of these rows, ascending."""
        return self.distinct_rows[fitted_rows(len(self.distinct_rows))]

    def check_probabilities(self, probabilities: ArrayLike) -> Float32Array:
        """Validate probabilities (m, k) alone as `check` does, and return them as float32."""
        rows = check_probabilities(probabilities)
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
            Empty, not finite, shapes that do not match each other or the reference, rows that are not probability
            distributions.
        """
        sample = check_sample(embeddings, probabilities, properties)
        if not len(sample):
            raise ValueError("no predictions: the window is empty")
        for name in ("embeddings", "probabilities", "properties"):
            values, expected = getattr(sample, name), getattr(self.sample, name)
            if values is not None and expected is not None and values.shape[1] != expected.shape[1]:
                raise ValueError(f"{name} have {values.shape[1]} columns, the reference's have {expected.shape[1]}")
        return sample if self.properties is not None else replace(sample, properties=None)

    def check_complete(self, embeddings: ArrayLike, probabilities: ArrayLike, properties: ArrayLike | None) -> Sample:
        """Validate predictions as `check` does; where the reference has properties, they must have them, too."""
        sample = self.check(embeddings, probabilities, properties)
        if self.properties is not None and sample.properties is None:
            raise ValueError("the reference has properties, these predictions have none")
        return sample
