"""What every remedy is given: the span, what its test said, and where to write."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..drift.report import LabelShift, WindowReport
from ..inference.bundle import Bundle
from ..inference.labelled_images import LabelledImages
from .result import Unfit
from .span import Span


@dataclass(frozen=True, eq=False)
class Context:
    """One run of `tidemark remedy`."""

    span: Span
    report: WindowReport  # of the span
    kinds: frozenset[str]  # of "label", "covariate" and "concept", those found
    out: Path  # exists
    bundle: Bundle | None = None
    images: Path | None = None  # labelled, held out from fitting
    force: bool = False  # export what does not gain, too
    seed: int = 0

    @property
    def without_bundle(self) -> str:
        """What a remedy that would write a model says where the bundle was not given."""
        return "" if self.bundle else "With --bundle it is written as a new model, too."

    def needed_bundle(self) -> Bundle:
        """Return the bundle.

        Raises
        ------
        Unfit
            It was not given.
        """
        if self.bundle is None:
            raise Unfit("needs the model: give --bundle")
        return self.bundle

    def needed_images(self, limit: int | None = None) -> LabelledImages:
        """Return the labelled images, or a random, stratified part of them.

        Raises
        ------
        Unfit
            They were not given, or not the bundle.
        """
        bundle = self.needed_bundle()
        if self.images is None:
            raise Unfit("needs labelled held-out images: give --images")
        return LabelledImages(bundle, self.images, limit, self.seed)

    def needed_reference_labels(self) -> NDArray[np.int64]:
        """Return the true labels (n,) of the reference.

        Raises
        ------
        Unfit
            They are not known.
        """
        if self.span.reference.labels is None:
            raise Unfit("needs a reference with true labels: build one with `tidemark reference build`")
        return self.span.reference.labels

    def needed_proportions(self) -> LabelShift:
        """Return the class proportions that the span was estimated to have.

        Raises
        ------
        Unfit
            The reference has no labels, or the span has too few different rows.
        """
        self.needed_reference_labels()
        if self.report.label_shift is None:
            raise Unfit(f"needs class proportions of the span: {self.report.summary}")
        return self.report.label_shift
