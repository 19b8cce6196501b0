"""Files that training libraries write next to a model state its preprocessing, pixel for pixel as they do it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.graphs import Nodes, random
from tidemark.inference.bundle import BrokenBundle, InputSpec
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.images import fit
from tidemark.inference.model_examination import Hints

Make = Callable[..., Path]


def model_of_any_size(make_graph: Make) -> Path:
    nodes: Nodes = [
        ("Conv", ["image", "kernel"], ["maps"], {}),
        ("GlobalAveragePool", ["maps"], ["means"], {}),
        ("Flatten", ["means"], ["flat"], {}),
        ("Gemm", ["flat", "w"], ["logits"], {}),
    ]
    weights = {"kernel": random(6, 3, 3, 3), "w": random(6, 4)}
    return make_graph(nodes, weights, ["logits"], image=("batch_size", "num_channels", "height", "width"))


VIT = {
    "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5], "resample": 2, "rescale_factor": 0.00392156862745098,
    "size": {"height": 32, "width": 32},
}  # fmt: skip
MOBILENET = VIT | {
    "do_center_crop": True,
    "crop_size": {"height": 28, "width": 28},
    "size": {"shortest_edge": 32},
    "resample": 3,
}
DEIT = MOBILENET | {"size": {"height": 32, "width": 32}}
OLD_DEIT = MOBILENET | {"size": 32, "crop_size": 28, "image_processor_type": "DeiTImageProcessor"}
CONVNEXT = VIT | {"crop_pct": 0.875, "size": {"shortest_edge": 32}}
MOBILEVIT = {"do_flip_channel_order": True, "do_rescale": True, "do_normalize": False, "size": {"shortest_edge": 32},
             "do_center_crop": True, "crop_size": {"height": 32, "width": 32}}  # fmt: skip
TIMM: dict[str, Any] = {
    "architecture": "resnet", "num_classes": 4,
    "pretrained_cfg": {"input_size": [3, 32, 32], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center",
                       "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
                       "label_names": ["a", "b", "c", "d"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("preprocessor_config.json", VIT, {"size": (32, 32), "mean": (0.5,) * 3, "resize": "squash"}),
        (
            "preprocessor_config.json",
            MOBILENET,
            {"size": (28, 28), "resize": "crop", "crop": 28 / 32, "interpolation": "bicubic"},
        ),
        ("preprocessor_config.json", DEIT, {"size": (28, 28), "resize": "squash", "crop": 28 / 32}),
        ("preprocessor_config.json", OLD_DEIT, {"size": (28, 28), "resize": "squash", "crop": 28 / 32}),
        ("preprocessor_config.json", CONVNEXT, {"size": (32, 32), "resize": "crop", "crop": 0.875}),
        ("preprocessor_config.json", MOBILEVIT, {"mode": "BGR", "mean": (0.0,), "std": (1.0,), "resize": "crop"}),
        (
            "config.json",
            TIMM,
            {"size": (32, 32), "crop": 0.95, "interpolation": "bicubic", "mean": (0.485, 0.456, 0.406)},
        ),
        (
            "config.json",
            TIMM | {"pretrained_cfg": TIMM["pretrained_cfg"] | {"crop_mode": "squash", "crop_pct": 0.9}},
            {"size": (32, 32), "resize": "squash", "crop": 0.9},
        ),
    ],
)
def test_files_next_to_a_model_state_its_preprocessing(
    make_graph: Make, tmp_path: Path, file: str, content: dict[str, Any], expected: dict[str, Any]
) -> None:
    folder = tmp_path / "optimum"
    folder.mkdir()
    model_of_any_size(make_graph).rename(folder / "model.onnx")
    (folder / file).write_text(json.dumps(content))
    if file != "config.json":
        (folder / "config.json").write_text(json.dumps({"id2label": {"0": "ant", "1": "bee", "2": "cat", "10": "dog"}}))
    bundle = init_bundle(folder, tmp_path / "bundle")
    assert {name: getattr(bundle.input, name) for name in expected} == expected
    assert bundle.labels == (("a", "b", "c", "d") if file == "config.json" else ("ant", "bee", "cat", "dog"))
    assert bundle.name == "optimum"


@pytest.mark.parametrize("content", ["[1]", "{", '{"image_mean": "grey", "image_std": 1}'])
def test_a_preprocessing_file_that_cannot_be_used_is_named(make_mlp: Make, tmp_path: Path, content: str) -> None:
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(BrokenBundle, match=r"p\.json"):
        init_bundle(make_mlp(), tmp_path / "bundle", hints=Hints(preprocessor=tmp_path / "p.json"))


def test_a_crop_keeps_its_share_of_the_shorter_side() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).resize((640, 480))
    spec = InputSpec(name="i", size=(224, 224), mode="RGB", resize="crop", crop=224 / 256)
    resized = image.resize((int(256 * 640 / 480), 256), Image.Resampling.BILINEAR)  # torchvision's Resize(256)
    left, top = round((resized.width - 224) / 2), round((256 - 224) / 2)  # and its CenterCrop(224)
    np.testing.assert_array_equal(fit(image, spec), np.asarray(resized.crop((left, top, left + 224, top + 224))))
    same = Image.fromarray(np.asarray(resized.crop((0, 0, 224, 224))))
    assert not np.array_equal(fit(same, spec), np.asarray(same))


def test_a_squashed_image_is_cropped_to_the_share_of_both_sides() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).resize((640, 480))
    spec = InputSpec(name="i", size=(224, 224), mode="RGB", resize="squash", crop=224 / 256)
    expected = image.resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
    np.testing.assert_array_equal(fit(image, spec), np.asarray(expected))
