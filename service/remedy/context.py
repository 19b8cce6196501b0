"""What every remedy is given: the span, what its test said, and where to write."""

from dataclasses import dataclass
from pathlib import Path

from service.drift.report import WindowReport
from service.inference.bundle import Bundle
from service.inference.labelled import LabelledImages
from service.remedy.outcome import Unfit
from service.remedy.span import Span


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

    def needed_reference_labels(self) -> None:
        """Raise Unfit where the reference has no true labels."""
        if self.span.reference.labels is None:
            raise Unfit("needs a reference with true labels: build one with `tidemark reference build`")
