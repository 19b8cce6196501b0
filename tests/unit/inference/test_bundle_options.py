"""What a bundle is made with and refused for: external weights, labels, options, and files that are no classifier."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.support.graph_outputs import check
from tests.support.graphs import Nodes
from tidemark.errors import ConfigurationError
from tidemark.inference.bundle import BrokenBundle
from tidemark.inference.bundle_builder import init_bundle

Make = Callable[..., Path]
Weights = Callable[..., np.ndarray]


def test_external_weights_come_along(make_mlp: Make, tmp_path: Path) -> None:
    model = make_mlp()
    split = tmp_path / "split" / "model.onnx"
    split.parent.mkdir()
    onnx.save(onnx.load(model), split, save_as_external_data=True, location="weights.bin", size_threshold=0)
    bundle = init_bundle(split, tmp_path / "bundle")
    (split.parent / "weights.bin").unlink()
    check(model, bundle, "hidden")
    with pytest.raises(BrokenBundle, match=r"its external data is missing: no file weights\.bin"):
        init_bundle(split, tmp_path / "second")


def test_a_bundle_s_own_model_makes_the_same_bundle(make_mlp: Make, tmp_path: Path) -> None:
    first = init_bundle(make_mlp(), tmp_path / "first", name="m")
    second = init_bundle(first.model_path, tmp_path / "second", name="m")
    assert (first.output, first.sha256) == (second.output, second.sha256)


def test_labels_and_names(make_mlp: Make, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeffcat\ndog\n\nfox \nowl\n", encoding="utf-8")
    bundle = init_bundle(make_mlp(), tmp_path / "bundle", name="pets", version="2.1", labels=labels)
    assert bundle.labels == ("cat", "dog", "fox", "owl")
    assert (bundle.name, bundle.version) == ("pets", "2.1")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"labels": "a\nb\n"}, "has 2 labels, the model has 4 classes"),
        ({"name": "two words"}, "name"),
        ({"version": "1/2"}, "version"),
        ({"preset": "imagenet"}, "for 3 channels, the input has 1"),
        ({"preset": "sepia"}, "expected one of unit, raw, imagenet"),
    ],
)
def test_wrong_options(make_mlp: Make, tmp_path: Path, options: dict[str, Any], says: str) -> None:
    if "labels" in options:
        (tmp_path / "labels.txt").write_text(options["labels"])
        options = {"labels": tmp_path / "labels.txt"}
    with pytest.raises(BrokenBundle, match=says) as caught:
        init_bundle(make_mlp(), tmp_path / "bundle", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bundle").exists()


def test_a_folder_in_use_is_unchanged(make_mlp: Make, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "notes.txt").write_text("mine")
    for out in (tmp_path / "bundle", tmp_path / "bundle" / "notes.txt"):
        with pytest.raises(ConfigurationError, match="not an empty folder"):
            init_bundle(make_mlp(), out)
    assert (tmp_path / "bundle" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07", bytes(range(256))])
def test_what_is_no_onnx_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BrokenBundle, match="expected an ONNX model"):
        init_bundle(tmp_path / "model.onnx", tmp_path / "bundle")


@pytest.mark.parametrize("opset", [7, 13, 22])
def test_opsets_from_7_to_22_are_read(make_mlp: Make, tmp_path: Path, opset: int) -> None:
    bundle = init_bundle(make_mlp(opset=opset, scores="probabilities"), tmp_path / "bundle")
    assert (bundle.output.activation, bundle.output.embedding) == ("none", "hidden")


def test_an_opset_that_the_runtime_lacks(make_mlp: Make, tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match=r"cannot load this model \(opset ai.onnx 99\)"):
        init_bundle(make_mlp(opset=99), tmp_path / "bundle")


def test_an_operator_that_the_runtime_lacks(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: Nodes = [("my.ops::Magic", ["image"], ["flat"], {}), ("Gemm", ["flat", "w"], ["logits"], {})]
    model = make_graph(nodes, {"w": weights(64, 4)}, ["logits"])
    with pytest.raises(BrokenBundle, match=r"custom operators my\.ops::Magic"):
        init_bundle(model, tmp_path / "bundle")


@pytest.mark.parametrize("kind", ["segmentation", "no head", "regression"])
def test_what_is_no_classifier(make_graph: Make, weights: Weights, tmp_path: Path, kind: str) -> None:
    graphs: dict[str, Any] = {
        "segmentation": ([("Conv", ["image", "k"], ["out"], {})], {"k": weights(4, 1, 1, 1)}),
        "no head": ([("Flatten", ["image"], ["out"], {})], {}),
        "regression": (
            [("Flatten", ["image"], ["flat"], {}), ("Gemm", ["flat", "w"], ["box_out"], {})],
            {"w": 9 * weights(64, 4)},
        ),
    }
    nodes, tensors = graphs[kind]
    output = "box_out" if kind == "regression" else "out"
    with pytest.raises(BrokenBundle, match=rf"no classifier: expected .* found {output}"):
        init_bundle(make_graph(nodes, tensors, [output]), tmp_path / "bundle")


@pytest.mark.parametrize(
    ("image", "dtype"),
    [(("N", 61), TensorProto.FLOAT), (("N", 5, 8, 8), TensorProto.FLOAT), (("N", 1, 8, 8), TensorProto.STRING)],
)
def test_an_input_that_is_no_image(make_graph: Make, tmp_path: Path, image: tuple[Any, ...], dtype: int) -> None:
    model = make_graph([("Identity", ["image"], ["out"], {})], {}, ["out"], image=image, dtype=dtype)
    with pytest.raises(
        BrokenBundle, match=r"expected one image input .* found image|61 values per image: give .* --size"
    ):
        init_bundle(model, tmp_path / "bundle")


@pytest.mark.parametrize(("side", "expected_side"), [(64, 64), (28, 28)])
def test_a_free_size_is_the_one_with_which_the_model_runs(
    make_graph: Make, weights: Weights, tmp_path: Path, side: int, expected_side: int
) -> None:
    nodes: Nodes = [("Flatten", ["image"], ["flat"], {}), ("Gemm", ["flat", "w"], ["logits"], {})]
    model = make_graph(nodes, {"w": weights(side**2, 4)}, ["logits"], image=("N", 1, "H", "W"))
    assert init_bundle(model, tmp_path / "bundle").input.size == (expected_side, expected_side)


def test_a_free_size_that_does_not_matter_is_224(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: Nodes = [("Conv", ["image", "k"], ["maps"], {}), ("GlobalAveragePool", ["maps"], ["logits"], {})]
    model = make_graph(nodes, {"k": weights(4, 3, 1, 1)}, ["logits"], image=("N", 3, "H", "W"))
    bundle = init_bundle(model, tmp_path / "bundle", preset="imagenet")
    assert (bundle.input.size, bundle.input.resize) == ((224, 224), "crop")
    assert bundle.input.mean == (0.485, 0.456, 0.406)
