"""Estimates of the accuracy without labels, on shifts of families that the rehearsals do not contain."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import optimize, special

from benchmarks.corruptions import CORRUPTIONS, Corruption, Images
from benchmarks.world import Arrays, World, reference
from tidemark.commands.rehearsals import Rehearsed, rehearse
from tidemark.drift import Reference, WindowTest
from tidemark.drift.probability_calibration import Calibration

REFERENCE_ROWS = 4000
REHEARSED_IMAGES = 600
WINDOW = 500
CALM_WINDOWS = 6  # windows without a shift
FALLEN = 0.05  # fall of the accuracy from which a window counts as harmed
STANDARD_ERRORS = 3.0  # half width of NannyML's confidence band


@dataclass
class Errors:
    """Errors of one estimator over windows, and how many of its intervals cover the accuracy."""

    errors: list[float] = field(default_factory=list)
    harmed: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)

    def add(
        self, truth: float, reference_accuracy: float, estimate: float, half: tuple[float, float] | None = None
    ) -> None:
        """Add the estimate for a window whose accuracy is `truth`; `half` is the interval, where there is one."""
        self.errors.append(estimate - truth)
        if truth < reference_accuracy - FALLEN:
            self.harmed.append(estimate - truth)
        if half is not None:
            self.covered.append(half[0] - 1e-9 <= truth <= half[1] + 1e-9)

    def row(self, name: str) -> str:
        """Return a line of the table."""
        covers = f"{np.mean(self.covered):.0%}" if self.covered else "no interval"
        figures = f"{np.mean(self.errors):+.3f} | {np.abs(self.errors).mean():.3f} | {np.abs(self.errors).max():.2f}"
        return f"| {name} | {figures} | {np.abs(self.harmed).mean():.3f} | {covers} |"


def run(world: World) -> None:
    """Print the errors of four estimators over held-out families of corruptions, and those of ours by corruption."""
    half = len(world.labels) // 2
    fitted = np.arange(min(half, REFERENCE_ROWS))
    labelled = rehearsed_reference(world, fitted)
    test = WindowTest(labelled, window_size=WINDOW)
    rivals = {"CBPE (NannyML's formula)": _cbpe, "difference of confidences": _confidences, "ATC": _thresholds}
    estimators = {name: make(labelled) for name, make in rivals.items()}
    table = {name: Errors() for name in (*estimators, "**rehearsals**")}
    by_corruption: dict[str, list[str]] = {}
    reference_accuracy = float((labelled.probabilities.argmax(axis=1) == labelled.labels).mean())
    for name, window, truth in _windows(world, half):
        for rival, estimate in estimators.items():
            table[rival].add(truth, reference_accuracy, *estimate(window))
        performance = test(**window).performance
        assert performance is not None
        estimated = performance.estimated_accuracy
        table["**rehearsals**"].add(truth, reference_accuracy, estimated, (performance.low, performance.high))
        by_corruption.setdefault(name, []).append(f"{truth:.2f} / {estimated:.2f} ({performance.method})")
    corrupted = sum(len(severities) for _, severities in CORRUPTIONS.values())
    print(
        f"{corrupted} corrupted windows of {WINDOW} images, of {len(CORRUPTIONS)} families that were not rehearsed, "
        f"and {CALM_WINDOWS} calm ones; reference of {len(fitted)} rows, accuracy {reference_accuracy:.3f}\n"
    )
    print("| estimate without labels | bias | mean error | largest | mean error where harmed | intervals that cover |")
    print("|---" * 6 + "|")
    for name, errors in table.items():
        print(errors.row(name))
    print("\ntrue / estimated accuracy by severity:\n")
    for name, cells in by_corruption.items():
        print(f"{name:16s} {'   '.join(cells)}")


def rehearsed_reference(world: World, fitted: np.ndarray) -> Reference:
    """Return a reference of some images of a world, with rehearsals of the first of them."""
    arrays, labels = world.arrays(world.images[fitted]), world.labels[fitted]
    rehearsed: Rehearsed = rehearse(world.arrays, reference(arrays, labels), world.images[fitted[:REHEARSED_IMAGES]])
    return Reference(**arrays, labels=labels, rehearsals=rehearsed.rehearsals)


def _windows(world: World, first: int) -> list[tuple[str, Arrays, float]]:
    """Return windows by the name of their corruption, with the accuracy on them; all images are from `first` on."""
    rng = np.random.default_rng(0)
    planned: list[tuple[str, Corruption, float]] = [("none", _unchanged, 0.0)] * CALM_WINDOWS
    planned += [(name, change, size) for name, (change, sizes) in CORRUPTIONS.items() for size in sizes]
    windows = []
    for name, change, size in planned:
        rows = first + rng.choice(len(world.labels) - first, WINDOW, replace=False)
        window = world.arrays(change(world.images[rows], size, rng))
        windows.append((name, window, float((window["probabilities"].argmax(axis=1) == world.labels[rows]).mean())))
    return windows


def _unchanged(images: Images, _size: float, _rng: np.random.Generator) -> Images:
    return images


Estimate = Callable[[Arrays], tuple[float, tuple[float, float] | None]]


def _cbpe(labelled: Reference) -> Estimate:
    """Confidence-based performance estimation as NannyML does it: isotonic calibration of each class, normalised."""
    labels = np.asarray(labelled.labels)
    curves = []
    for column in range(labelled.classes):
        scores = labelled.probabilities[:, column].astype(float)
        order = np.argsort(scores, kind="stable")
        fit = optimize.isotonic_regression((labels == column)[order].astype(float))
        curves.append((scores[order], fit.x))
    right = (labelled.probabilities.argmax(axis=1) == labels).astype(float)
    error = STANDARD_ERRORS * right.std() / np.sqrt(WINDOW)

    def estimate(window: Arrays) -> tuple[float, tuple[float, float] | None]:
        raw = window["probabilities"]
        calibrated = np.stack([np.interp(raw[:, i], *curve) for i, curve in enumerate(curves)], axis=1)
        calibrated /= np.maximum(calibrated.sum(axis=1, keepdims=True), 1e-9)
        middle = float(calibrated[np.arange(len(raw)), raw.argmax(axis=1)].mean())
        return middle, (middle - error, middle + error)

    return estimate


def _confidences(labelled: Reference) -> Estimate:
    """Difference of confidences: the fall of the mean confidence is the fall of the accuracy (Guillory et al. 2021)."""
    accuracy = float((labelled.probabilities.argmax(axis=1) == labelled.labels).mean())
    before = float(labelled.calibration(labelled.probabilities).max(axis=1).mean())

    def estimate(window: Arrays) -> tuple[float, tuple[float, float] | None]:
        after = float(labelled.calibration(window["probabilities"]).max(axis=1).mean())
        return accuracy + after - before, None

    return estimate


def _thresholds(labelled: Reference) -> Estimate:
    """Average thresholded confidence on negative entropy (Garg et al. 2022)."""
    errors = float((labelled.probabilities.argmax(axis=1) != labelled.labels).mean())
    calibration: Calibration = labelled.calibration
    threshold = np.quantile(-special.entr(calibration(labelled.probabilities)).sum(axis=1), errors)

    def estimate(window: Arrays) -> tuple[float, tuple[float, float] | None]:
        entropy = -special.entr(calibration(window["probabilities"])).sum(axis=1)
        return float((entropy >= threshold).mean()), None

    return estimate
