"""Runs a model over rehearsed shifts of labelled images, and reports its accuracy under each."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from ..drift import Reference
from ..drift.rehearsals.record import AppliedOperation, Rehearsal, Rehearsals
from ..drift.rehearsals.recording import Recorder
from ..drift.rehearsals.survival import SEVERITIES, SurvivalRow, severities_left_out, survival_rows
from ..inference.bundle import Bundle
from ..inference.image_operations.plan import Chain, apply_chain, rehearsal_plan
from ..inference.images import DecodedImage
from ..inference.model import Model
from ..inference.properties import measure
from ..settings import Settings
from ..store.logged import HALF, halved
from ..store.report_json import RehearsedShiftJson

MAX_IMAGES = 600  # images of a rehearsal, whose accuracy is then known to about one and a half points
FEW_IMAGES = 300  # images up to which a rehearsal may take more than half of the reference's
MIN_IMAGES = 100  # images below which the accuracy under a rehearsal is too uncertain
MAX_PIXEL_BYTES = 100_000_000  # bytes of the images in memory, which leaves fewer of large ones
TIME_LIMIT = 300.0  # seconds after which no further rehearsal begins
BATCH = 64  # images of one run of the model

Predict = Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]


class RehearsalFacts(TypedDict):
    """The printed content about the rehearsals of a reference."""

    images: int
    rehearsals: int
    seconds: float
    complete: bool
    left_out: list[str]  # what was not rehearsed because the time was up
    unchanged_accuracy: float
    survival: list[RehearsedShiftJson]


@dataclass
class RehearsedImages:
    """The first images of a reference, which its build reads in random order."""

    limit: int = MAX_IMAGES
    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)  # original width and height

    def add(self, images: Sequence[DecodedImage]) -> None:
        """Add images as long as there is room for them."""
        for image in images:
            if len(self.pixels) >= min(self.limit, MAX_PIXEL_BYTES // image.pixels.nbytes):
                return
            self.pixels.append(image.pixels)
            self.sizes.append((image.width, image.height))

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Rehearsed:
    """Rehearsals, with the time and the completeness of their run.

    Attributes
    ----------
    unchanged_accuracy : float
        Accuracy on the rehearsed images as they are.
    seconds : float
    """

    rehearsals: Rehearsals
    unchanged_accuracy: float
    seconds: float

    def facts(self) -> RehearsalFacts:
        """Return the printed content."""
        return {
            "images": len(self.rehearsals.rows),
            "rehearsals": len(self.rehearsals),
            "seconds": round(self.seconds, 1),
            "complete": not self.rehearsals.left_out,
            "left_out": list(self.rehearsals.left_out),
            "unchanged_accuracy": self.unchanged_accuracy,
            "survival": shifts_json(survival_rows(self.rehearsals)),
        }


def rehearse(predict: Predict, reference: Reference, pixels: NDArray[np.uint8]) -> Rehearsed:
    """Run a model over images under each operation of the plan, within the time limit.

    Parameters
    ----------
    predict : Predict
        Function that returns the arrays of a window for images, rounded as logged traffic is.
    reference : Reference
        Reference with labels, made of these images first, in their order.
    pixels : uint8 (n, H, W) or (n, H, W, 3)
        Images as the model sees them.
    """
    recorder = Recorder(reference, np.arange(len(pixels)))
    started = time.monotonic()
    for rehearsal, changed in rehearsed_images(pixels):
        recorder.add(rehearsal, reference.check(**predict(changed)))
    rehearsals = recorder.rehearsals()
    rehearsals = replace(rehearsals, left_out=left_out(pixels, len(rehearsals)))
    return Rehearsed(rehearsals, recorder.unchanged_accuracy, time.monotonic() - started)


def rehearsed_images(pixels: NDArray[np.uint8]) -> Iterator[tuple[Rehearsal, NDArray[np.uint8]]]:
    """Yield each rehearsal of the plan with the images under it, until the time is up."""
    plan = rehearsal_plan(colour=pixels.ndim == 4)
    for number, chain in enumerate(_within_time(plan, time.monotonic())):
        yield _rehearsal_of(chain), apply_chain(pixels, chain, seed=number)


def left_out(pixels: NDArray[np.uint8], count: int) -> tuple[str, ...]:
    """Return what of the plan for these images is missing after its first `count` rehearsals, as text."""
    return severities_left_out([_rehearsal_of(chain) for chain in rehearsal_plan(colour=pixels.ndim == 4)[count:]])


def affordable_images(colour: bool, seconds_per_image: float) -> int:
    """Return how many images can be rehearsed within the time limit."""
    return int(TIME_LIMIT / (len(rehearsal_plan(colour=colour)) * max(seconds_per_image, 1e-6)))


def rehearse_bundle(
    bundle: Bundle, reference: Reference, images: RehearsedImages, seconds_per_image: float
) -> Rehearsed:
    """Run a bundle's model over the images that its reference was made of first.

    Parameters
    ----------
    seconds_per_image : float
        What the model took for one image, by which the number of images is chosen.
    """
    affordable = affordable_images(images.pixels[0].ndim == 3, seconds_per_image)
    allowed = max(len(reference) // 2, FEW_IMAGES)
    count = min(len(images), max(min(affordable, allowed), MIN_IMAGES))
    model = Model(bundle, providers=Settings.load().providers)
    widths, heights = zip(*images.sizes[:count], strict=True)

    def predict(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        parts = [model.predict(pixels[first : first + BATCH]) for first in range(0, len(pixels), BATCH)]
        probabilities, embeddings = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        return {
            "embeddings": halved(embeddings),
            "probabilities": probabilities.astype(HALF),
            "properties": measure(pixels, widths, heights),
        }

    return rehearse(predict, reference, np.stack(images.pixels[:count]))


def shifts_json(rows: Sequence[SurvivalRow]) -> list[RehearsedShiftJson]:
    """Return rows of what a model survives as JSON."""
    return [
        RehearsedShiftJson(
            shift=row.shift,
            unit=row.unit,
            severity=row.severity,
            magnitude=row.magnitude,
            accuracy=row.accuracy,
        )
        for row in rows
    ]


def survival_lines(facts: RehearsalFacts) -> list[str]:
    """Return the facts of a build's rehearsals as lines: an operation a line, its accuracies by severity."""
    rows = [SurvivalRow(**row) for row in facts["survival"]]
    cells = {
        (shift, severity): "  ".join(
            f"{row.accuracy:.2f} at {row.magnitude:g}"
            for row in rows
            if row.shift == shift and row.severity == severity
        )
        for shift in {row.shift for row in rows}
        for severity in SEVERITIES
    }
    units = {row.shift: row.unit for row in rows}
    widths = [max([len(severity), *(len(cells[shift, severity]) for shift in units)]) for severity in SEVERITIES]
    head = "  ".join(f"{severity:{width}s}" for severity, width in zip(SEVERITIES, widths, strict=True))
    lines = [
        f"what the model survives: accuracy on {facts['images']} images, {facts['unchanged_accuracy']:.2f} unchanged",
        f"  {'shift':12s} {head}",
    ]
    for shift, unit in units.items():
        columns = [f"{cells[shift, severity]:{width}s}" for severity, width in zip(SEVERITIES, widths, strict=True)]
        lines.append(f"  {shift:12s} {'  '.join(columns)}  {unit}")
    if not facts["complete"]:
        lines.append(f"  after {facts['rehearsals']} rehearsals the time was up ({TIME_LIMIT:.0f} s); left out:")
        lines += [f"    {text}" for text in facts["left_out"]]
    return lines


def _within_time(plan: Sequence[Chain], started: float) -> Iterator[Chain]:
    """Yield the chains of a plan with a progress bar, until the time is up."""
    for chain in track(plan, "rehearsing shifts", console=Console(stderr=True), transient=True):
        if time.monotonic() - started > TIME_LIMIT:
            return
        yield chain


def _rehearsal_of(chain: Chain) -> Rehearsal:
    """Return a chain as the statistics name it."""
    operations = tuple(
        AppliedOperation(operation.name, operation.family, operation.unit, magnitude)
        for operation, magnitude in chain.steps
    )
    return Rehearsal(operations, chain.severity)
