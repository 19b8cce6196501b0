"""A reference with one row of each class, as 256 labelled images of 1,000 classes may be."""

import warnings

import numpy as np
from numpy.typing import NDArray

from tidemark.drift import Reference, WindowTest

CLASSES = 60


def test_a_drifted_window_has_finite_results_and_an_unknown_kind() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, 8))

    def predictions(labels: NDArray[np.int64], shift: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        embeddings = centres[labels] + 0.3 * rng.normal(size=(len(labels), 8)) + shift
        return embeddings, np.eye(CLASSES)[labels] * 0.9 + 0.1 / CLASSES

    each_once = np.arange(CLASSES)
    test = WindowTest(Reference(*predictions(each_once, 0.0), labels=each_once), window_size=100)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = test(*predictions(rng.integers(0, CLASSES, 100), 3.0))

    assert report.drifted
    assert report.kind == "unknown"
    assert "residual" not in report.tests
    assert all(np.isfinite(result.p_value) for result in report.tests.values())
