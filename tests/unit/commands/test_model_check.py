"""`tidemark model check` and the warning of `reference build`: preprocessing mistakes are named with their remedy."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.graphs import Nodes, build
from tests.support.wait import PAUSE
from tidemark.commands import reference_images
from tidemark.commands.model_check import check_model
from tidemark.commands.reference import ReferenceFacts, build_reference
from tidemark.commands.reference_images import CHECKED_SHARE, MAX_CHECKED, MIN_CHECKED
from tidemark.errors import TidemarkError
from tidemark.inference.bundle import Bundle, Spec, write_spec
from tidemark.inference.bundle_builder import init_bundle

SIDE = 6
CLASSES = 3


def colours(count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class is the channel that is brighter than the others by a little, on a background of any level."""
    rng = np.random.default_rng(3)
    labels = np.arange(count) % CLASSES
    images = rng.integers(30, 120, (count, 1, 1, 1)) + rng.integers(0, 20, (count, SIDE, SIDE, 3))
    images[np.arange(count), :, :, labels] += 40
    return images.astype(np.uint8), labels


@pytest.fixture
def images(tmp_path: Path) -> Path:
    pixels, labels = colours()
    np.savez(tmp_path / "images.npz", images=pixels, labels=labels)
    return tmp_path / "images.npz"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A network that is right for RGB in 0..1 normalised by ImageNet's mean and deviation."""
    weights = np.zeros((3 * SIDE * SIDE, CLASSES), np.float32)
    for channel in range(3):
        weights[channel * SIDE * SIDE : (channel + 1) * SIDE * SIDE, channel] = 1 / 4
    mean = np.array([0.485, 0.456, 0.406]) / np.array([0.229, 0.224, 0.225])
    std = np.array([0.229, 0.224, 0.225], np.float32)
    weights *= np.repeat(std, SIDE * SIDE)[:, None]
    bias = (mean * std * SIDE * SIDE / 4).astype(np.float32)
    nodes: Nodes = [
        ("Clip", ["image", "least", "most"], ["clipped"], {}),  # so that pixels in 0..255 are all alike
        ("Flatten", ["clipped"], ["flat"], {}),
        ("Gemm", ["flat", "w", "b"], ["logits"], {}),
    ]
    tensors = {"w": weights, "b": bias, "least": np.float32(-2.2), "most": np.float32(2.7)}
    model = build(tmp_path / "m.onnx", nodes, tensors, ["logits"], image=("N", 3, SIDE, SIDE))
    return init_bundle(model, tmp_path / "bundle", preset="imagenet")


def changed(bundle: Bundle, labels: tuple[str, ...] | None = None, **settings: Any) -> Path:
    spec = Spec(
        name=bundle.name,
        version=bundle.version,
        labels=labels or bundle.labels,
        input=bundle.input.model_copy(update=settings),
        output=bundle.output,
    )
    write_spec(bundle.folder, spec)
    return bundle.folder


def test_a_right_bundle_gets_no_advice(bundle: Bundle, images: Path) -> None:
    checked = check_model(bundle.folder, images)
    assert (checked.quality.accuracy, checked.quality.images, checked.advice) == (1.0, 240, [])
    assert 0 <= checked.quality.calibration_error <= 1
    assert checked.quality.log_loss > 0
    assert checked.quality.images_per_second > 0
    assert json.loads(json.dumps(checked.to_json()))["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"mode": "BGR"}, 'with RGB channels 1.00: set mode = "RGB"'),
        pytest.param(
            {"mean": (0.0,), "std": (1.0,)},
            "ImageNet's mean and deviation 1.00: set mean = [0.485, 0.456, 0.406]",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_mistake_is_named_with_what_to_write_into_model_toml(
    bundle: Bundle, images: Path, wrong: dict[str, Any], advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(bundle, **wrong)
    checked = check_model(folder, images)
    assert checked.quality.accuracy < 0.8
    [text] = checked.advice
    assert advice in text
    assert checked.variants[0].accuracy == 1.0
    assert len(checked.variants) == 8
    build_reference(folder, images, None, tmp_path / "reference.npz", power="none")
    assert advice in capsys.readouterr().err


def test_labels_in_another_order_are_reported(bundle: Bundle, tmp_path: Path) -> None:
    pixels, labels = colours()
    np.savez(tmp_path / "turned.npz", images=pixels, labels=(labels + 1) % CLASSES)
    checked = check_model(bundle.folder, tmp_path / "turned.npz")
    [text] = checked.advice
    assert "accuracy 0.00; with the classes in another order 1.00" in text


@pytest.mark.parametrize(
    ("count", "checked"), [(240, MIN_CHECKED), (100 * CHECKED_SHARE, 100), (300 * CHECKED_SHARE, MAX_CHECKED)]
)
def test_a_share_of_a_reference_s_images_within_bounds_is_prepared_in_other_ways(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, checked: int
) -> None:
    limits: list[int] = []
    monkeypatch.setattr(reference_images, "preprocessing_warning", lambda *arguments: limits.append(arguments[2]))
    monkeypatch.setattr(reference_images, "reference_arrays", lambda *_: {})
    pixels, labels = colours(count)
    np.savez(tmp_path / "many.npz", images=pixels, labels=labels)
    reference_images.reference_from_images(bundle.folder, tmp_path / "many.npz", None, thumbnails=False)
    assert limits == [checked]


def test_noise_gets_no_advice(bundle: Bundle, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, SIDE, SIDE, 3), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", images=pixels, labels=np.random.default_rng(1).integers(0, CLASSES, 200))
    assert check_model(bundle.folder, tmp_path / "noise.npz").advice == []


def test_images_without_labels_are_refused_here(bundle: Bundle, tmp_path: Path) -> None:
    np.savez(tmp_path / "unlabelled.npz", images=colours()[0])
    with pytest.raises(TidemarkError, match="expected arrays images and labels"):
        check_model(bundle.folder, tmp_path / "unlabelled.npz")


@pytest.fixture
def make_reference(bundle: Bundle, tmp_path: Path) -> Callable[..., ReferenceFacts]:
    def make(power: str = "none", **arrays: Any) -> ReferenceFacts:
        np.savez(tmp_path / "a.npz", **arrays)
        return build_reference(bundle.folder, tmp_path / "a.npz", None, tmp_path / "reference.npz", power=power)

    return make


def test_a_reference_without_labels_is_built(make_reference: Callable[..., ReferenceFacts], tmp_path: Path) -> None:
    facts = make_reference(images=colours()[0])
    assert (facts["rows"], facts["accuracy"]) == (240, None)
    with np.load(tmp_path / "reference.npz") as stored:
        assert "labels" not in stored.files


@pytest.mark.parametrize("count", [50, pytest.param(75, marks=pytest.mark.slow), 99])
def test_a_small_reference_is_built_without_the_table_that_it_is_too_small_for(
    make_reference: Callable[..., ReferenceFacts], count: int
) -> None:
    pixels, labels = colours(count)
    facts = make_reference("full", images=pixels, labels=labels)
    assert (facts["rows"], facts["power"]) == (count, [])


def test_too_small_a_reference_is_refused_in_one_line(make_reference: Callable[..., ReferenceFacts]) -> None:
    pixels, labels = colours(49)
    with pytest.raises(TidemarkError, match="49 rows are too few for a reference, 50 are needed"):
        make_reference(images=pixels, labels=labels)


def test_the_reference_is_written_before_its_table_which_stops_in_time(
    make_reference: Callable[..., ReferenceFacts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table(_reference: Any, proceed: Callable[[], bool]) -> tuple[()]:
        assert (tmp_path / "reference.npz").is_file()
        calls = 0
        while proceed():
            time.sleep(PAUSE)
            calls += 1
        assert calls > 0
        return ()

    monkeypatch.setattr("tidemark.commands.reference_power.power_table", table)
    monkeypatch.setattr(
        "tidemark.commands.reference_power.POWER_SHARE", 0.6
    )  # else a few milliseconds, which may be over at once
    pixels, labels = colours()
    facts = make_reference("auto", images=pixels, labels=labels)
    assert not facts["power_complete"]


def test_ways_of_equal_accuracy_are_ordered_by_log_loss(bundle: Bundle, images: Path) -> None:
    checked = check_model(changed(bundle, mode="BGR"), images)
    ranks = [(-variant.accuracy, variant.log_loss) for variant in checked.variants]
    assert ranks == sorted(ranks)
    losses = [loss for accuracy, loss in ranks if accuracy == ranks[-1][0]]
    assert losses[-1] - losses[0] > 0.1
    assert [one["log_loss"] for one in json.loads(json.dumps(checked.to_json()))["variants"]] == [b for _, b in ranks]
