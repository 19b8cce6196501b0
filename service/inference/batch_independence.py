"""Checks that an image's answer does not depend on the images in its batch, by replacing these."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-6  # share of the values' range; the same sums in the same order differ by nothing
BATCH = 4  # images in a batch: two numbers of two bits differ in one of them

Run = Callable[[NDArray[np.uint8]], Sequence[NDArray[Any]]]


def is_independent(run: Run, images: NDArray[np.uint8]) -> bool:
    """Check whether answers stay the same, at the same places of a batch, when other images of the batch change.

    A batch of other images is computed by the same sums in the same order. So a difference is no rounding, and even an
    effect that is small for these images is noticed, which a comparison with each image alone could not tell from it.
    Each pair of places is in one of the four comparisons: one stays, the other changes.

    Parameters
    ----------
    run : callable
        Returns the tensors of a batch, a row an image; what it raises is passed on.
    images : array of uint8, shape (8, H, W) or (8, H, W, 3)
        Different images: those of the batch, and those that replace them.

    Returns
    -------
    bool
    """
    batch, others = images[:BATCH], images[BATCH : 2 * BATCH]
    expected = run(batch)
    places = np.arange(BATCH)
    for bit in (0, 1):
        for value in (0, 1):
            stays = (places >> bit) % 2 == value
            answers = run(np.where(stays.reshape(-1, *[1] * (images.ndim - 1)), batch, others))
            pairs = zip(expected, answers, strict=True)
            if not all(_are_same(before[stays], after[stays]) for before, after in pairs):
                return False
    return True


def _are_same(before: NDArray[Any], after: NDArray[Any]) -> bool:
    a, b = before.astype(np.float64), after.astype(np.float64)
    finite = a[np.isfinite(a)]
    return np.allclose(a, b, rtol=0, atol=ROUNDING * (np.ptp(finite) if finite.size else 0), equal_nan=True)
