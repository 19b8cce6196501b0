"""Finds the image operations, and the range of each one's magnitude, that make reference images look like a window."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ...drift.reference import Reference
from ...drift.samples import Sample
from ...inference.image_operations.catalogue import SEARCHABLE
from ...inference.image_operations.operation import Magnitudes, Operation, Pixels
from .discrepancy import Distance, Target

Embedder = Callable[[Pixels], Sample]  # runs the model and measures the properties

MAX_OPERATIONS = 4  # operations that are combined, at most: each takes a search of its own
SEARCHED = 200  # images and window rows on which magnitudes are searched for
MAX_SWAP_ROUNDS = 2  # rounds of swaps for each set of operations
REFINING = 20  # evaluations for each magnitude that is refined
MATCH_P_VALUE = 0.05  # p-value above which images and window count as alike
LEVEL = 0.01  # probability that an operation is added which does not bring the images nearer
MIN_SHARE = 0.02  # share of the first discrepancy that an operation has to remove
RANGE_HALF_WIDTHS = (0.1, 0.2, 0.35, 0.5)  # half of a range, as a share of the distance of its middle from the identity
STEPS = (0.02, 0.04, 0.08, 0.16, 0.32)  # shares of that distance by which the middle is moved until the fit gets worse
INTERVAL_LEVEL = 0.01  # level at which a moved middle fits worse


class Range(NamedTuple):
    """Magnitudes of one operation, each as likely as the other."""

    operation: Operation
    low: float
    high: float


Ranges = tuple[Range, ...]


@dataclass(frozen=True, eq=False)
class Fit:
    """The result of the search: ranges in the order in which operations apply, and the discrepancy on held-out data."""

    ranges: Ranges
    before: float
    after: float
    reductions: NDArray[np.float64]  # bootstrap of before - after
    images: int
    evaluations: int


def augmented(pixels: Pixels, ranges: Ranges, seed: int) -> Pixels:
    """Return images (n, H, W) or (n, H, W, 3), each with magnitudes of its own drawn evenly from the ranges."""
    for number, (operation, low, high) in enumerate(ranges):
        rng = np.random.default_rng([seed, number])
        pixels = operation.apply(pixels, low + (high - low) * _evenly_spaced(len(pixels), rng), rng)
    return pixels


def fit_ranges(pixels: Pixels, embed: Embedder, reference: Reference, window: Sample, seed: int) -> Fit:
    """Find the ranges by greedy forward selection with a coarse-to-fine search.

    Half of the images and of the window are fitted on. The other half decides: an operation goes in only if it reduces
    MMD² to the window there beyond chance (paired bootstrap, level 0.01), and stays only while the others
    do not make it needless. A range is as wide as brings the mixture of magnitudes nearest to the window,
    and at least as wide as its middle is unsure.

    Parameters
    ----------
    pixels : Pixels
        (n, H, W) or (n, H, W, 3) uint8, images like those of the reference.
    embed : Embedder
        The model's embeddings and probabilities and the properties of images.
    reference : Reference
        Reference in whose units discrepancies are.
    window : Sample
        What the images are to resemble (m rows).
    """
    search = _Search(pixels[::2][:SEARCHED], embed, Target(reference, window.rows(slice(0, 2 * SEARCHED, 2))), seed)
    validation = _Search(pixels[1::2], embed, Target(reference, window.rows(slice(1, None, 2))), seed + 1)
    ranges: Ranges = ()
    while len(ranges) < MAX_OPERATIONS and not validation.matches(ranges):
        wider = search.with_one_more(ranges)
        if not validation.improves_on(wider, ranges):
            break
        ranges = wider if validation.matches(wider) else search.with_swaps(wider)
        for one in ranges:
            rest = tuple(other for other in ranges if other is not one)
            if rest and not validation.improves_on(ranges, rest):
                ranges = search.refine(rest)
                break
    for one in ranges:
        ranges = search.widen(ranges, one.operation)
    before, after = validation.distance(()), validation.distance(ranges)
    evaluations = len(search.distances) + len(validation.distances)
    return Fit(ranges, before.mmd2, after.mmd2, validation.target.reduction(before, after), len(pixels), evaluations)


@dataclass
class _Search:
    pixels: Pixels
    embed: Embedder
    target: Target
    seed: int
    distances: dict[tuple[tuple[str, float, float], ...], Distance] = field(default_factory=dict)

    def distance(self, ranges: Ranges) -> Distance:
        key = tuple((one.operation.name, one.low, one.high) for one in ranges)
        if key not in self.distances:
            self.distances[key] = self.target.distance(self.embed(augmented(self.pixels, ranges, self.seed)))
        return self.distances[key]

    def mmd2(self, ranges: Ranges) -> float:
        return self.distance(ranges).mmd2

    def matches(self, ranges: Ranges) -> bool:
        """Check whether chance alone would make as large a discrepancy."""
        return self.target.p_value(self.distance(ranges), self.seed) > MATCH_P_VALUE

    def improves_on(self, ranges: Ranges, without: Ranges) -> bool:
        """Check whether `ranges` are nearer to the window than `without`, beyond chance."""
        before, after = self.distance(without), self.distance(ranges)
        is_large_enough = before.mmd2 - after.mmd2 > MIN_SHARE * self.mmd2(())
        return is_large_enough and float(np.quantile(self.target.reduction(before, after), LEVEL)) > 0

    def with_one_more(self, ranges: Ranges) -> Ranges:
        """Return `ranges` with the one operation more that brings the images nearest, all magnitudes refined."""
        tried = [candidate for operation in self._others(ranges) for candidate in self._grid(ranges, operation)]
        return self.refine(min(tried, key=self.mmd2))

    def with_swaps(self, ranges: Ranges) -> Ranges:
        """Return `ranges` with operations exchanged for kin of theirs, as long as that brings the images nearer."""
        for _ in range(MAX_SWAP_ROUNDS):
            tried = [ranges]
            for one in ranges:
                rest = tuple(other for other in ranges if other is not one)
                family = [operation for operation in self._others(ranges) if operation.family == one.operation.family]
                tried += [self.refine(min(self._grid(rest, operation), key=self.mmd2)) for operation in family]
            best = min(tried, key=self.mmd2)
            if best is ranges:
                break
            ranges = best
        return ranges

    def refine(self, ranges: Ranges) -> Ranges:
        """Return points with all magnitudes refined together (Nelder and Mead 1965), in steps of the grids."""
        operations = [one.operation for one in ranges]
        start = np.array([one.low for one in ranges])
        steps = [_spacing(operation, middle) for operation, middle in zip(operations, start, strict=True)]

        simplex = np.vstack([start, start + np.diag(steps)])
        tolerance = 0.01 * min(map(abs, steps))

        def points(middles: NDArray[np.float64]) -> Ranges:
            return tuple(Range(o, float(x), float(x)) for o, x in zip(operations, middles, strict=True))

        solution = optimize.minimize(  # type: ignore[call-overload]  # its stubs do not know bounds with this method
            lambda middles: self.mmd2(points(middles)),
            start,
            method="Nelder-Mead",
            bounds=[operation.limits for operation in operations],
            options={"initial_simplex": simplex, "maxfev": REFINING * len(ranges), "xatol": tolerance, "fatol": 1e-5},
        )
        return min(ranges, points(solution.x), key=self.mmd2)

    def widen(self, ranges: Ranges, operation: Operation) -> Ranges:
        """Widen one operation's point to the range that fits best, and to where its middle might as well be."""
        middle = _range_of(ranges, operation).low
        distance = abs(middle - operation.identity)

        def between(low: float, high: float) -> Ranges:
            return _replace_range(ranges, operation, *np.clip([low, high], *operation.limits).tolist())

        tried = [
            ranges,
            *(between(middle - distance * width, middle + distance * width) for width in RANGE_HALF_WIDTHS),
        ]
        best = min(tried, key=self.mmd2)
        low, high = ends = _range_of(best, operation)[1:]
        for side in (-distance, distance):
            for step in STEPS:
                moved = between(low + side * step, high + side * step)
                moved_low, moved_high = _range_of(moved, operation)[1:]
                ends = min(ends[0], moved_low), max(ends[1], moved_high)
                worsening = self.target.reduction(self.distance(moved), self.distance(best))
                if float(np.quantile(worsening, INTERVAL_LEVEL)) > 0:
                    break
        return between(*ends)

    def _others(self, ranges: Ranges) -> list[Operation]:
        in_use = [one.operation for one in ranges]
        colours = self.pixels.ndim == 4
        return [operation for operation in SEARCHABLE if operation not in in_use and (colours or not operation.colour)]

    def _grid(self, ranges: Ranges, operation: Operation) -> list[Ranges]:
        return [_replace_range(ranges, operation, magnitude, magnitude) for magnitude in operation.grid]


def _replace_range(ranges: Sequence[Range], operation: Operation, low: float, high: float) -> Ranges:
    """Put an operation's range in, or in its old one's place, where it belongs in the order."""
    solution = {one.operation.name: one for one in ranges} | {operation.name: Range(operation, low, high)}
    return tuple(solution[one.name] for one in SEARCHABLE if one.name in solution)


def _range_of(ranges: Ranges, operation: Operation) -> Range:
    return next(one for one in ranges if one.operation is operation)


def _spacing(operation: Operation, middle: float) -> float:
    """Return half the way from a magnitude to its neighbour on the grid, on the side of the identity."""
    points = sorted({*operation.grid, operation.identity})
    toward = [x for x in points if (x < middle if middle > operation.identity else x > middle)]
    neighbour = (toward[-1] if middle > operation.identity else toward[0]) if toward else operation.identity
    return (neighbour - middle) / 2


def _evenly_spaced(count: int, rng: np.random.Generator) -> Magnitudes:
    """Return numbers spread evenly over 0..1, in random order."""
    return (rng.permutation(count) + 0.5) / count
