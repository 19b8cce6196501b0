"""Fitted ranges of image operations hold what was planted, and nothing is found where nothing was."""

import numpy as np

from tests.support.image_worlds import Shift, World, darker, see
from tidemark.inference.image_operations.operation import Pixels
from tidemark.remedy.augmentation.range_search import Fit, fit_ranges

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
