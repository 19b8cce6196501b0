from pathlib import Path

import numpy as np

from tidemark.demo.make_model import MODEL
from tidemark.demo.scans import SIDE, darker_and_blurred, halves, scan
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.properties import NAMES, measure


def test_the_halves_are_fixed_apart_and_complete() -> None:
    fitted, held_out = halves()
    again, _ = halves()
    assert len(fitted.labels) + len(held_out.labels) == 1797
    assert set(fitted.labels.tolist()) == set(held_out.labels.tolist()) == set(range(10))
    np.testing.assert_array_equal(fitted.images, again.images)
    seen = {image.tobytes() for image in fitted.images}
    assert sum(image.tobytes() in seen for image in held_out.images) == 0


def test_a_scan_is_put_down_differently_each_time() -> None:
    _, held_out = halves()
    rng = np.random.default_rng(0)
    first, second = scan(held_out.images[:50], rng), scan(held_out.images[:50], rng)
    assert first.shape == (50, SIDE, SIDE)
    assert first.dtype == np.uint8
    assert all((one != other).any() for one, other in zip(first, second, strict=True))
    np.testing.assert_array_equal(first, scan(held_out.images[:50], np.random.default_rng(0)))


def test_the_worn_scanner_is_darker_and_less_sharp() -> None:
    _, held_out = halves()
    clean = scan(held_out.images[:200], np.random.default_rng(0))
    before, after = (measure(images, [SIDE] * 200, [SIDE] * 200) for images in (clean, darker_and_blurred(clean)))
    brightness, sharpness = NAMES.index("brightness"), NAMES.index("sharpness")
    assert after[:, brightness].mean() < 0.8 * before[:, brightness].mean()
    assert (after[:, sharpness] < before[:, sharpness]).mean() > 0.95


def test_the_shipped_classifier_is_small_and_reads_scans_that_it_was_not_trained_on(tmp_path: Path) -> None:
    assert MODEL.stat().st_size <= 500_000
    bundle = init_bundle(MODEL, tmp_path / "bundle")
    model = Model(bundle, threads=1)
    _, held_out = halves()
    probabilities, embeddings = model.predict(scan(held_out.images, np.random.default_rng(7)))
    assert (bundle.output.activation, embeddings.shape[1]) == ("softmax", 48)
    assert (probabilities.argmax(axis=1) == held_out.labels).mean() >= 0.97
