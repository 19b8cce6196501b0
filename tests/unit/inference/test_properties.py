import numpy as np
import pytest
from scipy import ndimage

from tidemark.inference.properties import NAMES, measure


def row(pixels: np.ndarray) -> dict[str, float]:
    [values] = measure(pixels[None], [40], [30])
    return dict(zip(NAMES, values.tolist(), strict=True))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 17, 23), dtype=np.uint8)


def test_agrees_with_the_definitions(pixels: np.ndarray) -> None:
    measured = measure(pixels, [1] * 5, [2] * 5)
    unit = pixels / 255
    laplacian = np.stack([ndimage.laplace(image, mode="nearest") for image in unit]).reshape(5, -1)
    flat = unit.reshape(5, -1)
    entropy = []
    for image in pixels:
        share = np.bincount((image // 8).ravel(), minlength=32) / image.size
        entropy.append(-(share[share > 0] * np.log2(share[share > 0])).sum())
    expected = np.stack(
        [
            flat.mean(axis=1),
            flat.std(axis=1),
            np.log(laplacian.var(axis=1)),
            np.median(np.abs(laplacian), axis=1),
            entropy,
            np.zeros(5),
            np.ones(5),
            np.full(5, 2),
        ],
        axis=1,
    )
    assert measured.dtype == np.float32
    np.testing.assert_allclose(measured, expected, rtol=1e-4, atol=1e-5)


def test_the_batch_does_not_matter(pixels: np.ndarray) -> None:
    together = measure(pixels, [1] * 5, [2] * 5)
    alone = np.concatenate([measure(image[None], [1], [2]) for image in pixels])
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_grey_colour_images_measure_as_grey_ones(pixels: np.ndarray) -> None:
    colour = np.repeat(pixels[..., None], 3, axis=3)
    np.testing.assert_allclose(measure(colour, [1] * 5, [2] * 5), measure(pixels, [1] * 5, [2] * 5), rtol=1e-6)


def test_saturation_is_one_for_pure_colour_and_zero_for_black() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    assert row(red)["saturation"] == 0
    red[..., 0] = 200
    assert row(red)["saturation"] == 1


@pytest.mark.parametrize("level", [0, 255])
def test_a_flat_image_has_finite_properties(level: int) -> None:
    flat = row(np.full((9, 9), level, np.uint8))
    assert flat["brightness"] == pytest.approx(level / 255)
    assert flat["contrast"] == pytest.approx(0, abs=1e-6)
    assert flat["entropy"] == pytest.approx(0, abs=1e-6)
    assert np.isfinite(list(flat.values())).all()


def test_blur_lowers_sharpness_and_noise_raises_it() -> None:
    rng = np.random.default_rng(1)
    scene = ndimage.gaussian_filter(rng.random((64, 64)), 2)
    scene = 255 * (scene - scene.min()) / np.ptp(scene)
    sharp = row(scene.astype(np.uint8))
    blurred = row(ndimage.gaussian_filter(scene, 2).astype(np.uint8))
    noisy = row(np.clip(scene + rng.normal(0, 20, scene.shape), 0, 255).astype(np.uint8))
    assert blurred["sharpness"] < sharp["sharpness"] < noisy["sharpness"]
    assert sharp["noise"] < noisy["noise"]
    assert (sharp["width"], sharp["height"]) == (40, 30)
