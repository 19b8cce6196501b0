"""Inputs of every layout, number type, range and channel order, and what training libraries write next to a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.support.graphs import Nodes, random
from tidemark.inference.bundle import BrokenBundle, InputSpec, load
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.model_examination import Hints
from tidemark.inference.preprocessing import Preprocessor

Make = Callable[..., Path]
GREY = np.random.default_rng(5).integers(0, 256, (6, 8, 8), dtype=np.uint8)
COLOUR = np.random.default_rng(5).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def linear(
    make_graph: Make, image: tuple[Any, ...], dtype: int = TensorProto.FLOAT, before: Nodes | None = None
) -> Path:
    """A network that flattens its input and multiplies it by weights."""
    values = int(np.prod(list(image[1:]))) if len(image) > 2 else 64
    last = before[-1][2][0] if before else "image"
    nodes: Nodes = [
        *(before or []),
        ("Cast", [last], ["float"], {"to": TensorProto.FLOAT}),
        ("Flatten", ["float"], ["flat"], {}),
        ("Gemm", ["flat", "w"], ["logits"], {}),
    ]
    weights = {
        "w": random(values, 4),
        "k255": np.array([255], np.float32),
        "k128": np.array([128], np.float32),
        "r255": np.array([1 / 255], np.float32),
    }
    return make_graph(nodes, weights, ["logits"], image=image, dtype=dtype)


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("divisor", [1.0, 127.5, 255.0])
def test_a_pixel_is_divided_as_a_training_script_divides_it(divisor: float) -> None:
    spec = InputSpec(name="image", size=(1, 256), mode="L", scale=1 / divisor)
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 256)
    prepared = Preprocessor(spec).prepared(levels)
    np.testing.assert_array_equal(prepared.reshape(1, 1, 256), levels / np.float32(divisor))


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [
        (TensorProto.FLOAT, 1 / 255, 0),
        (TensorProto.FLOAT16, 1 / 255, 0),
        (TensorProto.DOUBLE, 1 / 255, 0),
        (TensorProto.UINT8, 1, 0),
        (TensorProto.INT8, 1, -128),
        (TensorProto.INT32, 1, 0),
    ],
)
@pytest.mark.parametrize(
    ("image", "layout"),
    [(("N", 1, 8, 8), "NCHW"), (("N", 8, 8, 1), "NHWC"), (("N", 8, 8), "NHW"), (("N", 64), "NP")],
)
def test_grey_images_in_every_layout_and_number_type(
    make_graph: Make, tmp_path: Path, image: tuple[Any, ...], layout: str, dtype: int, scale: float, offset: float
) -> None:
    bundle = init_bundle(linear(make_graph, image, dtype), tmp_path / "bundle")
    assert (bundle.input.layout, bundle.input.size, bundle.input.mode) == (layout, (8, 8), "L")
    network = Model(bundle, threads=1)
    _, embeddings = network.predict(GREY)
    expected = GREY.reshape(6, 64).astype(float) * scale + offset
    np.testing.assert_allclose(embeddings, expected, atol=2e-3 if dtype == TensorProto.FLOAT16 else 1e-4)
    np.testing.assert_array_equal(network.pixels(network.prepared(GREY)), GREY)


@pytest.mark.parametrize(
    ("dtype", "change", "expected"),
    [
        (TensorProto.UINT8, {}, np.uint8),
        (TensorProto.UINT8, {"scale": 0.5}, np.float32),
        (TensorProto.UINT8, {"mean": (1.0,)}, np.float32),
        (TensorProto.INT8, {"mean": (0.0,)}, np.float32),
        (TensorProto.INT64, {}, np.int64),
        (TensorProto.DOUBLE, {"mean": (1.0,)}, np.float64),
    ],
)
def test_tensors_of_integers_reach_networks_of_pixels_as_they_are(
    make_graph: Make, tmp_path: Path, dtype: int, change: dict[str, Any], expected: type[np.generic]
) -> None:
    bundle = init_bundle(linear(make_graph, ("N", 1, 8, 8), dtype), tmp_path / "bundle")
    changed = Model(bundle, threads=1).with_input(bundle.input.model_copy(update=change))
    assert changed.tensor_dtype == expected


@pytest.mark.parametrize(
    ("image", "axes"), [(("N", 3, 8, 8), (0, 3, 1, 2)), (("N", 8, 8, 3), (0, 1, 2, 3)), (("N", 192), (0, 3, 1, 2))]
)
@pytest.mark.parametrize("mode", ["RGB", "BGR"])
def test_colours_in_the_order_of_the_network(
    make_graph: Make, tmp_path: Path, image: tuple[Any, ...], axes: tuple[int, ...], mode: str
) -> None:
    model = linear(make_graph, ("N", 3, 8, 8) if len(image) == 2 else image)
    proto = onnx.load(model)
    if len(image) == 2:
        del proto.graph.input[0].type.tensor_type.shape.dim[1:]
        proto.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 192
        onnx.save(proto, model)
    bundle = init_bundle(model, tmp_path / "bundle")
    spec = bundle.folder / "model.toml"
    spec.write_text(spec.read_text().replace('mode = "RGB"', f'mode = "{mode}"'))
    network = Model(load(bundle.folder), threads=1)
    _, embeddings = network.predict(COLOUR)
    ordered = COLOUR[..., ::-1] if mode == "BGR" else COLOUR
    np.testing.assert_allclose(embeddings, ordered.transpose(axes).reshape(6, -1) / 255, atol=1e-5)
    np.testing.assert_array_equal(network.pixels(network.prepared(COLOUR)), COLOUR)


def convolution(make_graph: Make, image: tuple[Any, ...], channels: int, last: bool = False) -> Path:
    nodes: Nodes = [
        *([("Transpose", ["image"], ["first"], {"perm": [0, 3, 1, 2]})] if last else []),
        ("Conv", ["first" if last else "image", "k"], ["maps"], {}),
        ("GlobalAveragePool", ["maps"], ["means"], {}),
        ("Flatten", ["means"], ["flat"], {}),
        ("Gemm", ["flat", "w"], ["logits"], {}),
    ]
    return make_graph(nodes, {"k": random(6, channels, 3, 3), "w": random(6, 4)}, ["logits"], image=image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("last", [False, True])
def test_channels_and_layout_of_free_axes_are_those_of_the_first_convolution(
    make_graph: Make, tmp_path: Path, channels: int, last: bool
) -> None:
    model = convolution(make_graph, ("batch", "a", "b", "c"), channels, last)
    bundle = init_bundle(model, tmp_path / "bundle", hints=Hints(size=(20, 24)))
    assert bundle.input.layout == ("NHWC" if last else "NCHW")
    assert (bundle.input.size, bundle.input.channels) == ((20, 24), channels)


def test_a_free_size_is_noted(make_graph: Make, tmp_path: Path) -> None:
    notes: list[str] = []
    init_bundle(convolution(make_graph, ("N", 3, "H", "W"), 3), tmp_path / "bundle", note=notes.append)
    assert any("224x224 is used, choose by --size" in note for note in notes)


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        (Hints(size=(9, 8)), "--size 9x8: the input is 8x8"),
        (Hints(channels=3), "--channels 3: the input has 1"),
    ],
)
def test_hints_that_contradict_the_graph_are_refused(
    make_mlp: Make, tmp_path: Path, hints: Hints, message: str
) -> None:
    with pytest.raises(BrokenBundle, match=message):
        init_bundle(make_mlp(), tmp_path / "bundle", hints=hints)


@pytest.mark.parametrize(
    ("preset", "first"),
    [
        ("caffe", (30 - 103.939, 20 - 116.779, 10 - 123.68)),
        ("tf", (10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1)),
        ("raw", (10, 20, 30)),
        ("torchvision", ((10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225)),
    ],
)
def test_presets_prepare_pixels_as_their_libraries_do(
    make_graph: Make, tmp_path: Path, preset: str, first: tuple[float, ...]
) -> None:
    bundle = init_bundle(linear(make_graph, ("N", 3, 8, 8)), tmp_path / "bundle", preset=preset)
    pixels = np.broadcast_to(np.array([10, 20, 30], np.uint8), (1, 8, 8, 3))
    np.testing.assert_allclose(Preprocessor(bundle.input).prepared(pixels)[0, :, 0, 0], first, rtol=1e-4)


def test_labels_that_several_classes_share_get_their_number(make_mlp: Make, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("crane\nmaillot\ncrane\ncafe\u0301\n", encoding="utf-8")
    notes: list[str] = []
    bundle = init_bundle(make_mlp(), tmp_path / "bundle", labels=tmp_path / "labels.txt", note=notes.append)
    assert bundle.labels == ("crane (0)", "maillot", "crane (2)", "café")
    assert notes == ["several classes are called crane: their numbers were put behind their names"]
