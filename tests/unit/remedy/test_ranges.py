"""Fitted ranges of image operations hold what was planted, and nothing is found where nothing was."""

from typing import Any

import numpy as np
import pytest

from tests.support.image_worlds import Shift, World, darker, see
from tidemark.inference.image_operations.catalogue import SEARCHABLE
from tidemark.inference.image_operations.operation import Pixels
from tidemark.inference.image_operations.optics import BLUR
from tidemark.remedy.augmentation.range_search import (
    MAX_OPERATIONS,
    MAX_SWAP_ROUNDS,
    Fit,
    Range,
    Ranges,
    _Search,
    fit_ranges,
)

IMAGES, ROWS = 240, 240


def fitted(world: World, shift: Shift) -> Fit:
    sample, _ = world.span(shift, count=ROWS)

    def embed(pixels: Pixels):  # type: ignore[no-untyped-def]
        return see(world.bundle, pixels)

    with np.load(world.images) as archive:
        return fit_ranges(archive["images"][:IMAGES], embed, world.reference, sample, seed=0)


def test_planted_darkness_is_detected(digits: World) -> None:
    ranges = fitted(digits, lambda images: darker(images, 0.5))
    [brightness] = ranges.ranges
    assert brightness.operation.name == "brightness"
    assert brightness.low <= 0.5 <= brightness.high
    assert brightness.high - brightness.low < 0.3
    assert np.quantile(ranges.reductions, 0.01) > 0
    assert ranges.after < 0.05 * ranges.before


def test_nothing_is_detected_where_nothing_was_planted(digits: World) -> None:
    ranges = fitted(digits, lambda images: images)
    assert ranges.ranges == ()
    assert ranges.after == ranges.before


def test_a_bounded_number_of_operations_is_combined(digits: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each operation is an improvement, and none is enough."""
    monkeypatch.setattr(_Search, "matches", lambda *_: False)
    monkeypatch.setattr(_Search, "improves_on", lambda *_: True)
    monkeypatch.setattr(_Search, "mmd2", lambda *_: 0.0)
    sample, _ = digits.span(lambda images: images, count=40)
    pixels = np.zeros((40, 28, 28), np.uint8)
    fit = fit_ranges(pixels, lambda images: sample.rows(slice(len(images))), digits.reference, sample, seed=0)
    assert len({one.operation.name for one in fit.ranges}) == len(fit.ranges) == MAX_OPERATIONS


def test_operations_are_swapped_in_a_bounded_number_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each swap is an improvement: a point is nearer than all that were tried before."""
    tried: list[Ranges] = []
    refined: list[Ranges] = []

    def mmd2(_: _Search, ranges: Ranges) -> float:
        if ranges not in tried:
            tried.append(ranges)
        return -float(tried.index(ranges))

    def refine(_: _Search, ranges: Ranges) -> Ranges:
        assert len(refined) < 100
        points = tuple(Range(one.operation, one.low + 0.001 * len(refined), one.high) for one in ranges)
        refined.append(points)
        return points

    monkeypatch.setattr(_Search, "mmd2", mmd2)
    monkeypatch.setattr(_Search, "refine", refine)
    family = [one for one in SEARCHABLE if one.family == BLUR.family and not one.colour]
    assert len(family) > 1
    nothing: Any = None
    search = _Search(np.zeros((2, 8, 8), np.uint8), nothing, nothing, 0)
    start = (Range(BLUR, 1.0, 1.0),)
    search.mmd2(start)
    assert search.with_swaps(start) == refined[-1]
    assert len(refined) == MAX_SWAP_ROUNDS * (len(family) - 1)
