"""Image sizes that are all but constant in the reference."""

from typing import Any

import numpy as np
import pytest

from tidemark.drift import Reference, StreamDetector, WindowTest

ROWS, CLASSES = 1200, 4
NAMES = ("brightness", "width", "height")


class Camera:
    """A camera whose images are 64 pixels wide, some of them by a pixel more."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def predictions(self, count: int, width: float = 64.0, brightness: float = 0.5, spread: float = 0.0) -> Any:
        noise = self._rng.normal(size=(count, 3))
        widths = width * np.exp(spread * noise[:, 1]) + (self._rng.random(count) < 0.01)
        properties = np.column_stack([brightness + 0.1 * noise[:, 0], widths, np.full(count, 48.0)])
        return {
            "embeddings": self._rng.normal(size=(count, 6)).astype(np.float32),
            "probabilities": self._rng.dirichlet(np.ones(CLASSES), count).astype(np.float32),
            "properties": properties.astype(np.float32),
        }


@pytest.fixture
def camera() -> Camera:
    return Camera()


def reference(camera: Camera, **changes: Any) -> Reference:
    rows = camera.predictions(ROWS, **changes)
    return Reference(rows["embeddings"], rows["probabilities"], properties=rows["properties"], property_names=NAMES)


def test_images_that_are_a_pixel_wider_are_no_drift_where_the_width_hardly_ever_varied(camera: Camera) -> None:
    baseline = reference(camera)
    detector = StreamDetector(baseline, expected_run_time=10_000)
    wider = camera.predictions(600, width=65.0)
    detector.update(**wider)
    assert not detector.drift_detected
    report = WindowTest(baseline, 300)(*(values[:300] for values in wider.values()))
    assert not report.drifted
    assert {shift.name: shift.constant for shift in report.properties} == {
        "brightness": False,
        "width": True,
        "height": True,
    }


def test_other_properties_next_to_them_are_watched(camera: Camera) -> None:
    detector = StreamDetector(reference(camera), expected_run_time=10_000)
    detector.update(**camera.predictions(600, width=65.0, brightness=0.35))
    assert detector.drift_detected


def test_sizes_that_vary_in_the_reference_are_watched(camera: Camera) -> None:
    detector = StreamDetector(reference(camera, spread=0.2), expected_run_time=10_000)
    detector.update(**camera.predictions(600, spread=0.2, width=100.0))
    assert detector.drift_detected
