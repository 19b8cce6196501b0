"""The memory of detectors and window tests is bounded, however many rows references and windows have."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from tests.support.worlds import Arrays, World, rows
from tidemark.drift import DetectorScores, Reference, WindowTest
from tidemark.drift.samples import MAX_FITTED_ROWS

WORLD = World(k=3, d=8)


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Four times as many rows as are fitted to, two thirds of them exact repeats of others, which costs little."""
    labels = WORLD.labels(MAX_FITTED_ROWS, np.random.default_rng(0))
    few = WORLD.see(labels, np.random.default_rng(1)) | {"labels": labels}
    return rows(few, np.arange(4 * MAX_FITTED_ROWS) % MAX_FITTED_ROWS)


def peak(action: Callable[[], object]) -> int:
    """Return the bytes that NumPy and Python hold at most while something is done."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def explain_a_window(reference: Reference) -> None:
    assert WindowTest(reference)(**WORLD.traffic(400, np.random.default_rng(2), move=1.0)).kind == "covariate"


@pytest.mark.parametrize("use", [DetectorScores, explain_a_window])
def test_memory_does_not_grow_with_the_reference(arrays: Arrays, use: Callable[[Reference], object]) -> None:
    few = Reference(**rows(arrays, slice(0, MAX_FITTED_ROWS)))
    many = Reference(**arrays)
    assert peak(lambda: use(many)) < 1.3 * peak(lambda: use(few)) + 5e6


def test_memory_does_not_grow_with_the_window(arrays: Arrays) -> None:
    test = WindowTest(Reference(**rows(arrays, slice(0, 2000))))
    window = {name: values for name, values in arrays.items() if name != "labels"}
    few = rows(window, slice(0, 20_000))
    assert peak(lambda: test(**window)) < 1.3 * peak(lambda: test(**few)) + 5e6


def test_a_thinned_reference_counts_the_rows_that_it_was_thinned_to(arrays: Arrays) -> None:
    """The error of the mean of 20,000 rows is in the null distribution, not that of all of them."""
    scores = DetectorScores(Reference(**arrays))
    assert (scores.size, len(scores.of_reference)) == (MAX_FITTED_ROWS, MAX_FITTED_ROWS)
    assert len(DetectorScores(Reference(**rows(arrays, slice(0, 900)))).of_reference) == 900
