"""Input of every remedy: the span, its window test, the model, and the folder to write to."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..drift.estimates import LabelShift
from ..drift.report import WindowReport
from ..inference.bundle import Bundle
from ..inference.labelled_images import LabelledImages
from .result import RemedyNotApplicable
from .span import Span

IMAGES = 1000  # labelled images of those given that take part in fitting, at most


@dataclass(frozen=True, eq=False)
class RemedyContext:
    """One run of `tidemark remedy`."""

    span: Span
    report: WindowReport  # the report of the span
    kinds: frozenset[str]  # the detected kinds among "label", "covariate" and "concept"
    out: Path  # exists
    bundle: Bundle | None = None
    images: Path | None = None  # labelled, held out from fitting
    force: bool = False  # also export what does not improve
    seed: int = 0

    @property
    def without_bundle(self) -> str:
        """Note of a remedy that could write a model, if no bundle was given; else empty."""
        return "" if self.bundle else "With --bundle it is also written as a new model."

    def require_bundle(self) -> Bundle:
        """Return the bundle.

        Raises
        ------
        RemedyNotApplicable
            It was not given.
        """
        if self.bundle is None:
            raise RemedyNotApplicable("needs the model: give --bundle")
        return self.bundle

    def require_images(self, limit: int | None = None) -> LabelledImages:
        """Return the labelled images, or a random, stratified part of them.

        Raises
        ------
        RemedyNotApplicable
            They were not given, or not the bundle.
        """
        bundle = self.require_bundle()
        if self.images is None:
            raise RemedyNotApplicable("needs labelled held-out images: give --images")
        return LabelledImages(bundle, self.images, limit, self.seed)

    def require_reference_labels(self) -> NDArray[np.int64]:
        """Return the true labels (n,) of the reference.

        Raises
        ------
        RemedyNotApplicable
            They are not known.
        """
        if self.span.reference.labels is None:
            raise RemedyNotApplicable("needs a reference with true labels: build one with `tidemark reference build`")
        return self.span.reference.labels

    def require_proportions(self) -> LabelShift:
        """Return the class proportions that the span was estimated to have.

        Raises
        ------
        RemedyNotApplicable
            The reference has no labels, or the span has too few different rows.
        """
        self.require_reference_labels()
        if self.report.label_shift is None:
            raise RemedyNotApplicable(f"needs class proportions of the span: {self.report.summary}")
        return self.report.label_shift
