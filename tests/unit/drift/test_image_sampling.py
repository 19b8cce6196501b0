"""The sampling error that an estimated accuracy has from the window and from the rehearsed images."""

import numpy as np
import pytest

from tidemark.drift.rehearsals.image_sampling import NORMAL_QUANTILE_90, ImageSampling
from tidemark.drift.samples import Sample

IMAGES_OF_A_CLASS, CLASSES = 60, 10
VARIANCE = 0.8 * 0.2  # of whether one image is classified correctly, at an accuracy of .8


def window_of(counts: list[int]) -> Sample:
    """Return a window with this many predictions of each class."""
    predicted = np.repeat(np.arange(CLASSES), counts)
    return Sample(np.zeros((len(predicted), 2), np.float32), np.eye(CLASSES, dtype=np.float32)[predicted], None)


@pytest.fixture
def sampling() -> ImageSampling:
    return ImageSampling(np.repeat(np.arange(CLASSES), IMAGES_OF_A_CLASS), CLASSES)


def test_a_window_like_the_rehearsed_images_adds_only_what_its_fewer_rows_make(sampling: ImageSampling) -> None:
    assert sampling.half_width(VARIANCE, window_of([60] * 10), is_recreated=False) == pytest.approx(0, abs=1e-6)
    fewer = sampling.half_width(VARIANCE, window_of([20] * 10), is_recreated=False)
    assert fewer == pytest.approx(NORMAL_QUANTILE_90 * np.sqrt(VARIANCE * (1 / 200 - 1 / 600)))


def test_a_window_of_one_class_is_as_uncertain_as_that_class_has_images(sampling: ImageSampling) -> None:
    half = sampling.half_width(VARIANCE, window_of([0] * 9 + [600]), is_recreated=False)
    assert half == pytest.approx(NORMAL_QUANTILE_90 * np.sqrt(VARIANCE * (1 / 60 - 1 / 600)))


def test_the_interval_covers_the_accuracy_of_a_class_by_its_rehearsed_images(sampling: ImageSampling) -> None:
    rng = np.random.default_rng(0)
    window = window_of([0] * 9 + [600])
    covered = []
    for _ in range(400):
        rehearsed, fresh = rng.binomial([IMAGES_OF_A_CLASS, 600], 0.8) / [IMAGES_OF_A_CLASS, 600]
        covered.append(abs(rehearsed - fresh) <= sampling.half_width(VARIANCE, window, is_recreated=True))
    assert 0.84 <= np.mean(covered) <= 0.94


def test_many_classes_of_few_images_cost_little_at_the_usual_proportions() -> None:
    rng = np.random.default_rng(1)
    sampling = ImageSampling(rng.integers(0, 300, 600), 300)
    predicted = rng.integers(0, 300, 600)
    window = Sample(np.zeros((600, 2), np.float32), np.eye(300, dtype=np.float32)[predicted], None)
    assert sampling.half_width(VARIANCE, window, is_recreated=False) < 0.02
