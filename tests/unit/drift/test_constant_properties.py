"""Properties that never vary in the reference, such as the size of images that were arrays, raise no alarm."""

import numpy as np
import pytest

from tests.support.worlds import Arrays
from tidemark.drift import Reference, StreamDetector, WindowTest


def world(count: int, width: float, seed: int, darker: float = 0.0) -> Arrays:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    probabilities = np.full((count, 4), 0.02, np.float32)
    probabilities[np.arange(count), labels] = 0.94
    return {
        "embeddings": (3 * np.eye(4)[labels] + rng.normal(size=(count, 4))).astype(np.float32),
        "probabilities": probabilities,
        "properties": np.column_stack([rng.normal(0.5 - darker, 0.1, (count, 2)), np.full(count, width)]),
    }


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(**world(800, 28, seed=0), property_names=("brightness", "contrast", "width"))


@pytest.mark.parametrize("width", [29, pytest.param(320, marks=pytest.mark.slow)])
def test_another_size_than_the_reference_s_only_one_is_no_drift(reference: Reference, width: float) -> None:
    detector = StreamDetector(reference, expected_run_time=10_000)
    detector.update(**world(300, width, seed=1))
    assert not detector.drift_detected
    assert WindowTest(reference, window_size=200)(**world(200, width, seed=2)).kind == "none"


def test_a_property_that_varies_is_still_watched(reference: Reference) -> None:
    detector = StreamDetector(reference, expected_run_time=10_000)
    detector.update(**world(300, 320, seed=1, darker=0.3))
    assert detector.drift_detected
