"""What a reference can see: the smallest shift found in most windows of a size, from its own resamples."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .reference import Reference
from .reference_rows import MIN_REFERENCE_ROWS
from .samples import Sample
from .window import MIN_WINDOW, WindowTest

POWER = 0.8
LEVEL = 0.01
WINDOWS = 6  # drawn per shift and size
MAX_ROWS = 800  # rows of the half that serves as the reference
OUTLYING = 3.0  # deviations by which an outlying image's embedding is moved

Plant = Callable[[Reference, int, float, np.random.Generator], Sample]


class Detectable(NamedTuple):
    """The smallest of the sizes tried at which POWER of the windows are called drifted at LEVEL, or None."""

    shift: str
    unit: str
    window_size: int
    smallest: float | None


class _UserStop(Exception):
    """The caller of `power_table` does not want to go on."""


def power_table(
    reference: Reference,
    window_sizes: Sequence[int] = (100, 500),
    seed: int = 0,
    proceed: Callable[[], bool] = lambda: True,
) -> tuple[Detectable, ...]:
    """Return the minimum detectable effect of a few shifts per window size.

    One random half of the reference serves as the reference, windows are drawn from the other with the shift
    planted; sizes for which that half is too small are left out.

    Parameters
    ----------
    proceed : Callable[[], bool]
        Asked before each window; once it answers False, the rows that are complete are returned.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(reference.distinct_rows)
    half = len(order) // 2
    if half < MIN_REFERENCE_ROWS:
        return ()
    reference_part, fresh = _part(reference, order[:half][:MAX_ROWS]), _part(reference, order[half:])
    table = []
    for size in window_sizes:
        if size > len(fresh) or size < MIN_WINDOW:
            continue
        if not proceed():
            break
        test = WindowTest(reference_part, window_size=size, seed=seed, level=LEVEL)
        try:
            for shift, unit, plant, sizes in SHIFTS:
                table.append(Detectable(shift, unit, size, _smallest(test, fresh, size, plant, sizes, rng, proceed)))
        except _UserStop:
            break
    return tuple(table)


def _smallest(
    test: WindowTest,
    fresh: Reference,
    size: int,
    plant: Plant,
    sizes: Sequence[float],
    rng: np.random.Generator,
    proceed: Callable[[], bool],
) -> float | None:
    """Bisect the sizes, smallest first, for the first that is found often enough."""
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        detections = 0
        for _ in range(WINDOWS):
            if not proceed():
                raise _UserStop
            detections += _drifted(test, plant(fresh, size, sizes[middle], rng))
        if detections >= POWER * WINDOWS:
            high = middle
        else:
            low = middle + 1
    return sizes[low] if low < len(sizes) else None


def _drifted(test: WindowTest, window: Sample) -> bool:
    return test.p_value(window.embeddings, window.probabilities, window.properties) <= LEVEL


def _class_commoner(fresh: Reference, size: int, factor: float, rng: np.random.Generator) -> Sample:
    labels = fresh.probabilities.argmax(axis=1)
    counts = np.bincount(labels, minlength=fresh.classes)
    median_class = int(np.argsort(counts, kind="stable")[fresh.classes // 2])
    weight = np.where(labels == median_class, factor, 1.0)
    return fresh.sample.rows(rng.choice(len(fresh), size, replace=False, p=weight / weight.sum()))


def _shift_rows(fresh: Reference, size: int, deviations: float, rng: np.random.Generator) -> Sample:
    return _move(fresh, size, deviations, np.ones(size, dtype=bool), rng)


def _replace_outlying(fresh: Reference, size: int, share: float, rng: np.random.Generator) -> Sample:
    return _move(fresh, size, OUTLYING, rng.random(size) < share, rng)


def _move(fresh: Reference, size: int, deviations: float, hit: np.ndarray, rng: np.random.Generator) -> Sample:
    """Move the embeddings of some rows in a random direction, `deviations` in every unit."""
    sample = fresh.sample.rows(rng.choice(len(fresh), size, replace=False))
    signs = rng.choice([-1.0, 1.0], fresh.embeddings.shape[1])
    step = (deviations * signs * fresh.embeddings.std(axis=0)).astype(np.float32)
    return replace(sample, embeddings=sample.embeddings + np.where(hit[:, None], step, np.float32(0)))


def _part(reference: Reference, rows: np.ndarray) -> Reference:
    sample = reference.sample.rows(rows)
    labels = None if reference.labels is None else reference.labels[rows]
    return Reference(sample.embeddings, sample.probabilities, labels=labels, properties=sample.properties)


SHIFTS: tuple[tuple[str, str, Plant, tuple[float, ...]], ...] = (
    ("one class commoner", "times", _class_commoner, (1.5, 2.0, 3.0, 4.0, 6.0, 10.0)),
    ("all embeddings moved", "deviations", _shift_rows, (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)),
    ("some images outlying", "of the images", _replace_outlying, (0.02, 0.05, 0.1, 0.2, 0.4)),
)
