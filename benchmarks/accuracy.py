"""Estimates of the accuracy without labels: families that are not rehearsed, other class proportions, natural shifts.

Methods and constants were chosen on the families of `corruptions` and by leaving out rehearsed families; those of
`confirming_corruptions` and the natural shifts took no part in that. Labelled images given as traffic (of other
writers, another scanner, another year) are natural shifts as well.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.confidence_estimates import confidence_estimates
from benchmarks.confirming_corruptions import CONFIRMING
from benchmarks.corruptions import CORRUPTIONS, Corruption
from benchmarks.natural_shifts import natural_shifts
from benchmarks.world import Arrays, World, labelled_images, reference
from tidemark.commands.rehearse import Rehearsed, rehearse
from tidemark.drift import Reference, WindowTest

REFERENCE_ROWS = 4000
REHEARSED_IMAGES = 600
WINDOW = 500
CALM_WINDOWS = 6  # windows without a shift
NATURAL_WINDOWS = 3  # windows of each natural shift, at most
MIN_WINDOW = 100  # images of a file of traffic, at least
HARM_DROP = 0.05  # fall of the accuracy from which a window counts as harmed
FEW_CLASSES = 3  # classes of a window whose other classes are missing
OURS = "**rehearsals**"

Rows = np.ndarray


class LabelledWindow(NamedTuple):
    """A window of traffic: the part of the table that it belongs to, what was done to it, and its accuracy."""

    part: str
    shift: str
    arrays: Arrays
    accuracy: float


@dataclass
class Errors:
    """Errors of one estimator over windows, and how many of its intervals cover the accuracy."""

    errors: list[float] = field(default_factory=list)
    harmed: list[float] = field(default_factory=list)
    usable: list[float] = field(default_factory=list)  # errors where the method is not "unknown"
    covered: list[bool] = field(default_factory=list)

    def add(
        self,
        truth: float,
        whole: float,
        estimate: float,
        interval: tuple[float, float] | None = None,
        is_known: bool = True,
    ) -> None:
        """Add the estimate for a window whose accuracy is `truth`, with its interval where there is one."""
        self.errors.append(estimate - truth)
        if truth < whole - HARM_DROP:
            self.harmed.append(estimate - truth)
        if is_known:
            self.usable.append(estimate - truth)
        if interval is not None:
            self.covered.append(interval[0] - 1e-9 <= truth <= interval[1] + 1e-9)

    def row(self, part: str, name: str) -> str:
        """Return a line of the table."""
        covers = f"{np.mean(self.covered):.0%}" if self.covered else "no interval"
        sizes = np.abs(self.errors)
        usable = "–"
        if self.usable:
            error, number = np.abs(self.usable).mean(), f"{len(self.usable)} of {len(self.errors)}"
            usable = f"{np.mean(self.usable):+.3f}, {error:.3f} ({number})"
        harmed = f"{np.abs(self.harmed).mean():.3f}" if self.harmed else "–"
        figures = f"{np.mean(self.errors):+.3f} | {sizes.mean():.3f} | {sizes.max():.2f} | {harmed} | {usable}"
        return f"| {part} | {name} | {figures} | {covers} |"


def run(world: World, traffic: Sequence[str] = ()) -> None:
    """Print the errors of four estimators by kind of shift, and those of ours by corruption.

    Parameters
    ----------
    traffic : sequence of str
        .npz files of labelled images that the world's model meets after it was built.
    """
    half = len(world.labels) // 2
    fitted = np.arange(min(half, REFERENCE_ROWS))
    labelled = rehearsed_reference(world, fitted)
    table: dict[str, dict[str, Errors]] = {}
    courses: dict[str, list[str]] = {}
    _estimate(labelled, _corrupted_windows(world, half), table, courses)
    _estimate(labelled, _traffic_windows(world, traffic), table, courses)
    for shift in natural_shifts(world):
        rows = np.random.default_rng(0).permutation(shift.reference)[:REFERENCE_ROWS]
        _estimate(rehearsed_reference(world, rows), _natural_windows(world, shift.name, shift.traffic), table, courses)
    print(
        f"windows of {WINDOW} images; reference of {len(fitted)} rows, accuracy {_accuracy_of(labelled):.3f}; "
        f"{REHEARSED_IMAGES} images rehearsed\n"
    )
    columns = ["windows", "estimate without labels", "bias", "mean error", "largest", "where harmed"]
    columns += ["bias, mean error where known", "cover"]
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    for part, estimators in table.items():
        for name, errors in estimators.items():
            print(errors.row(part, name))
    print("\ntrue / estimated accuracy by severity:\n")
    for name, cells in courses.items():
        print(f"{name:32s} {'   '.join(cells)}")


def rehearsed_reference(world: World, fitted: Rows) -> Reference:
    """Return a reference of some images of a world, with rehearsals of the first of them."""
    arrays, labels = world.arrays(world.images[fitted]), world.labels[fitted]
    rehearsed: Rehearsed = rehearse(world.arrays, reference(arrays, labels), world.images[fitted[:REHEARSED_IMAGES]])
    return Reference(**arrays, labels=labels, rehearsals=rehearsed.rehearsals)


def _estimate(
    labelled: Reference,
    windows: Iterator[LabelledWindow],
    table: dict[str, dict[str, Errors]],
    courses: dict[str, list[str]],
) -> None:
    """Add the errors of all estimators on windows to the table, and our estimates to the courses by shift."""
    test = WindowTest(labelled, window_size=WINDOW)
    others = confidence_estimates(labelled, WINDOW)
    whole = _accuracy_of(labelled)
    for window in windows:
        errors = table.setdefault(window.part, {name: Errors() for name in (*others, OURS)})
        for name, estimate in others.items():
            errors[name].add(window.accuracy, whole, *estimate(window.arrays))
        performance = test(**window.arrays).performance
        assert performance is not None
        estimated, method = performance.estimated_accuracy, performance.method
        interval = performance.low, performance.high
        errors[OURS].add(window.accuracy, whole, estimated, interval, is_known=method != "unknown")
        course = courses.setdefault(f"{window.shift} ({window.part})", [])
        course.append(f"{window.accuracy:.2f} / {estimated:.2f} ({method})")


def _accuracy_of(labelled: Reference) -> float:
    return float((labelled.probabilities.argmax(axis=1) == labelled.labels).mean())


def _corrupted_windows(world: World, first: int) -> Iterator[LabelledWindow]:
    """Yield calm windows, and corrupted ones at the reference's and at other class proportions; all images are from
    `first` on."""
    rng = np.random.default_rng(0)
    rows = np.arange(first, len(world.labels))
    for _ in range(CALM_WINDOWS):
        yield _window(world, "calm", "none", rng.choice(rows, WINDOW, replace=False))
    parts = {"families chosen on": CORRUPTIONS, "families to confirm": CONFIRMING}
    for part, families in parts.items():
        for name, (change, sizes) in families.items():
            for size in sizes:
                chosen = rng.choice(rows, WINDOW, replace=False)
                yield _window(world, part, name, chosen, change, size, rng)
                if part == "families to confirm":
                    for label, proportions in PROPORTIONS.items():
                        chosen = _at_proportions(world, rows, proportions(world, rng), rng)
                        yield _window(world, label, name, chosen, change, size, rng)


def _natural_windows(world: World, name: str, rows: Rows) -> Iterator[LabelledWindow]:
    rng = np.random.default_rng(0)
    for _ in range(NATURAL_WINDOWS):
        yield _window(world, "natural shifts", name, rng.choice(rows, WINDOW, replace=len(rows) < WINDOW))


def _traffic_windows(world: World, files: Sequence[str]) -> Iterator[LabelledWindow]:
    """Yield windows of each file that share no image."""
    for file in files:
        images, labels = labelled_images(file)
        if len(labels) < MIN_WINDOW:
            raise ValueError(f"{file} has {len(labels)} images; a window takes {MIN_WINDOW} at least")
        order = np.random.default_rng(0).permutation(len(labels))
        for rows in np.array_split(order, np.arange(WINDOW, len(labels), WINDOW))[:NATURAL_WINDOWS]:
            if len(rows) >= MIN_WINDOW:
                arrays = world.arrays(images[rows])
                accuracy = float((arrays["probabilities"].argmax(axis=1) == labels[rows]).mean())
                yield LabelledWindow("traffic", Path(file).stem, arrays, accuracy)


def _window(
    world: World,
    part: str,
    shift: str,
    rows: Rows,
    change: Corruption | None = None,
    size: float = 0.0,
    rng: np.random.Generator | None = None,
) -> LabelledWindow:
    images = world.images[rows]
    if change is not None and rng is not None:
        images = change(images, size, rng)
    arrays = world.arrays(images)
    accuracy = float((arrays["probabilities"].argmax(axis=1) == world.labels[rows]).mean())
    return LabelledWindow(part, shift, arrays, accuracy)


Proportions = Callable[[World, np.random.Generator], np.ndarray]


def _random_proportions(world: World, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rng.dirichlet(np.ones(int(world.labels.max()) + 1)))


def _few_classes(world: World, rng: np.random.Generator) -> np.ndarray:
    shares = np.zeros(int(world.labels.max()) + 1)
    shares[rng.choice(len(shares), min(FEW_CLASSES, len(shares)), replace=False)] = 1 / FEW_CLASSES
    return np.asarray(shares / shares.sum())


PROPORTIONS: dict[str, Proportions] = {
    "and random proportions": _random_proportions,
    "and few classes": _few_classes,
}


def _at_proportions(world: World, rows: Rows, shares: np.ndarray, rng: np.random.Generator) -> Rows:
    counts = rng.multinomial(WINDOW, shares)
    by_class = [rows[world.labels[rows] == label] for label in range(len(shares))]
    drawn = [rng.choice(of, n, replace=n > len(of)) for of, n in zip(by_class, counts, strict=True) if n and len(of)]
    return np.concatenate(drawn)
