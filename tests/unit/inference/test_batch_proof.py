"""A graph answers each image as it does alone, whatever batch size an export bound it to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.support.graphs import Nodes, random
from tidemark.inference.bundle import BrokenBundle, load
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model

Make = Callable[..., Path]
# Dark, bright and noisy images: what mixes rows is seen on images that differ.
PIXELS = (np.random.default_rng(5).random((7, 8, 8)) * np.linspace(20, 255, 7)[:, None, None]).astype(np.uint8)
HEAD: Nodes = [("Gemm", ["flat", "w"], ["logits"], {})]
WEIGHTS = {"w": random(64, 4)}


def alone(model: Path, batch: int = 1) -> np.ndarray:
    """Return the original graph's logits, each image in a batch of copies of itself."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = []
    for image in PIXELS:
        values = np.repeat(image[None, None].astype(np.float32) / 255, batch, axis=0)
        rows.append(np.asarray(session.run(["logits"], {"image": values})[0]).reshape(batch, -1)[0])
    return np.stack(rows)


def check(model: Path, folder: Path, batch: int = 1) -> tuple[Model, list[str]]:
    """The bundle answers every image as the original graph does alone, together and one by one."""
    notes: list[str] = []
    network = Model(init_bundle(model, folder, note=notes.append), threads=1)
    logits = alone(model, batch)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    together, embeddings = network.predict(PIXELS)
    np.testing.assert_allclose(together, expected, atol=1e-5)
    for row, image in enumerate(PIXELS):
        np.testing.assert_allclose(network.predict(image[None])[0][0], expected[row], atol=1e-5)
        np.testing.assert_allclose(network.predict(image[None])[1][0], embeddings[row], atol=1e-5)
    return network, notes


def fixed_batch(folder: Path) -> int | None:
    declared = onnx.load(folder / "model.onnx", load_external_data=False).graph.input[0].type.tensor_type.shape.dim[0]
    return declared.dim_value or None


@pytest.mark.parametrize("attributes", [{}, {"allowzero": 0}, {"allowzero": 1}])
@pytest.mark.parametrize("target", [[1, 64], [1, -1], [-1, 64]])
@pytest.mark.parametrize("place", ["initializer", "constant", "computed"])
def test_a_reshape_to_the_example_s_batch_size_is_freed(
    make_graph: Make, tmp_path: Path, attributes: dict[str, int], target: list[int], place: str
) -> None:
    nodes: Nodes = []
    weights: dict[str, Any] = dict(WEIGHTS)
    if place == "initializer":
        weights["to"] = np.array(target)
    elif place == "constant":
        nodes.append(("Constant", [], ["to"], {"value": onnx.numpy_helper.from_array(np.array(target))}))
    else:
        weights |= {"first": np.array(target[:1]), "second": np.array(target[1:])}
        nodes.append(("Concat", ["first", "second"], ["to"], {"axis": 0}))
    nodes.append(("Reshape", ["image", "to"], ["flat"], attributes))
    model = make_graph(nodes + HEAD, weights, ["logits"], image=(1, 1, 8, 8), opset=18)
    _, notes = check(model, tmp_path / "bundle")
    assert not notes
    assert fixed_batch(tmp_path / "bundle") is None


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("place", ["expanded", "constant"])
def test_a_class_token_is_joined_to_every_image(make_graph: Make, tmp_path: Path, batch: int, place: str) -> None:
    nodes: Nodes = [
        ("Reshape", ["image", "tokens"], ["patches"], {"allowzero": 1}),
        *([("Expand", ["token", "size"], ["class"], {})] if place == "expanded" else []),
        ("Concat", ["class", "patches"], ["all"], {"axis": 1}),
        ("Transpose", ["all"], ["turned"], {"perm": [0, 2, 1]}),
        ("MatMul", ["all", "turned"], ["attention"], {}),
        ("Softmax", ["attention"], ["shares"], {"axis": -1}),
        ("MatMul", ["shares", "all"], ["mixed"], {}),
        ("Gather", ["mixed", "first"], ["flat"], {"axis": 1}),
        *HEAD,
    ]
    token = random(1, 1, 16)
    weights = {
        "tokens": np.array([batch, 4, 16]),
        "first": np.array(0),
        "w": random(16, 4),
        **({"token": token, "size": np.array([batch, 1, 16])} if place == "expanded" else {}),
        **({"class": np.repeat(token, batch, axis=0)} if place == "constant" else {}),
    }
    model = make_graph(nodes, weights, ["logits"], image=(batch, 1, 8, 8), opset=18)
    _, notes = check(model, tmp_path / "bundle", batch)
    assert not notes
    assert fixed_batch(tmp_path / "bundle") is None


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("rest", [False, True])
def test_windows_of_an_image_that_become_rows_are_freed(
    make_graph: Make, tmp_path: Path, batch: int, rest: bool
) -> None:
    """Transformers with windows or patches (Swin, MobileViT) lay those of all images under each other."""
    nodes: Nodes = [
        ("Reshape", ["image", "sides"], ["split"], {}),
        ("Transpose", ["split"], ["ordered"], {"perm": [0, 1, 3, 2, 4]}),
        ("Reshape", ["ordered", "windows"], ["rows"], {"allowzero": 1}),
        ("Transpose", ["rows"], ["turned"], {"perm": [0, 2, 1]}),
        ("MatMul", ["rows", "turned"], ["attention"], {}),
        ("Softmax", ["attention"], ["shares"], {"axis": -1}),
        ("MatMul", ["shares", "rows"], ["mixed"], {}),
        ("Reshape", ["mixed", "all"], ["flat"], {}),
        *HEAD,
    ]
    shapes = {
        "sides": np.array([batch, 2, 4, 2, 4]),
        "windows": np.array([batch * 4, 4, -1 if rest else 4]),
        "all": np.array([batch, -1]),
    }
    model = make_graph(nodes, WEIGHTS | shapes, ["logits"], image=(batch, 1, 8, 8), opset=18)
    _, notes = check(model, tmp_path / "bundle", batch)
    assert not notes
    assert fixed_batch(tmp_path / "bundle") is None


@pytest.mark.parametrize("batch", [1, 4])
def test_a_graph_bound_to_its_batch_size_runs_in_it(make_graph: Make, tmp_path: Path, batch: int) -> None:
    nodes: Nodes = [
        ("Reshape", ["image", "all"], ["row"], {}),
        ("Add", ["row", "nothing"], ["sum"], {}),
        ("Reshape", ["sum", "rows"], ["flat"], {}),
        *HEAD,
    ]
    constants = {"all": np.array([-1]), "nothing": np.zeros(batch * 64, np.float32), "rows": np.array([batch, 64])}
    model = make_graph(nodes, WEIGHTS | constants, ["logits"], image=(batch, 1, 8, 8), opset=18)
    _, notes = check(model, tmp_path / "bundle", batch)
    assert any(f"bound to a batch size of {batch}" in note and "costs speed" in note for note in notes)
    assert fixed_batch(tmp_path / "bundle") == batch


NORMALISED: Nodes = [
    ("Flatten", ["image"], ["values"], {}),
    ("ReduceMean", ["values"], ["mean"], {"keepdims": 1}),
    ("Sub", ["values", "mean"], ["centred"], {}),
    ("Mul", ["centred", "centred"], ["squares"], {}),
    ("ReduceMean", ["squares"], ["variance"], {"keepdims": 1}),
    ("Sqrt", ["variance"], ["deviation"], {}),
    ("Div", ["centred", "deviation"], ["flat"], {}),
]


@pytest.mark.parametrize("batch", ["N", 1])
def test_a_graph_that_mixes_the_images_of_a_batch_runs_them_one_at_a_time(
    make_graph: Make, tmp_path: Path, batch: Any
) -> None:
    model = make_graph([*NORMALISED, *HEAD], WEIGHTS, ["logits"], image=(batch, 1, 8, 8))
    _, notes = check(model, tmp_path / "bundle")
    assert any("one at a time" in note for note in notes)


def test_a_graph_that_mixes_the_images_of_a_fixed_larger_batch_is_refused(make_graph: Make, tmp_path: Path) -> None:
    model = make_graph([*NORMALISED, *HEAD], WEIGHTS, ["logits"], image=(3, 1, 8, 8))
    with pytest.raises(BrokenBundle, match=r"fixed at 3.*depends on the others.*export it with a batch size of 1"):
        init_bundle(model, tmp_path / "bundle")


TRAINING: dict[str, tuple[Nodes, dict[str, Any], str]] = {
    "dropout": (
        [("Flatten", ["image"], ["all"], {}), ("Dropout", ["all", "ratio", "on"], ["flat"], {})],
        {"ratio": np.float32(0.5), "on": np.array(True)},
        "exported in training mode: Dropout flat",
    ),
    "batch normalisation": (
        [
            ("Flatten", ["image"], ["all"], {}),
            ("BatchNormalization", ["all", "g", "g0", "g0", "g"], ["flat", "m", "v"], {"training_mode": 1}),
        ],
        {"g": np.ones(64, np.float32), "g0": np.zeros(64, np.float32)},
        "exported in training mode: BatchNormalization flat",
    ),
    "random": (
        [
            ("Flatten", ["image"], ["all"], {}),
            ("RandomNormalLike", ["all"], ["noise"], {}),
            ("Add", ["all", "noise"], ["flat"], {}),
        ],
        {},
        "different answers: RandomNormalLike noise",
    ),
}


@pytest.mark.parametrize("kind", TRAINING)
def test_a_graph_whose_answers_are_random_or_depend_on_training_is_refused(
    make_graph: Make, tmp_path: Path, kind: str
) -> None:
    nodes, weights, message = TRAINING[kind]
    with pytest.raises(BrokenBundle, match=message):
        init_bundle(make_graph([*nodes, *HEAD], WEIGHTS | weights, ["logits"]), tmp_path / "bundle")


def test_a_dropout_that_does_not_drop_is_accepted(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [("Flatten", ["image"], ["all"], {}), ("Dropout", ["all", "ratio", "on"], ["flat"], {}), *HEAD]
    weights = WEIGHTS | {"ratio": np.float32(0.5), "on": np.array(False)}
    check(make_graph(nodes, weights, ["logits"]), tmp_path / "bundle")


def test_a_bundle_written_by_hand_around_a_fixed_batch_runs(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [("Reshape", ["image", "to"], ["flat"], {}), *HEAD]
    model = make_graph(nodes, WEIGHTS | {"to": np.array([1, 64])}, ["logits"], image=(1, 1, 8, 8))
    folder = tmp_path / "by_hand"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.read_bytes())
    (folder / "model.toml").write_text(
        'name = "m"\nversion = "1"\nlabels = ["a", "b", "c", "d"]\n'
        '[input]\nname = "image"\nsize = [8, 8]\nmode = "L"\n'
        '[output]\nprobabilities = "logits"\nactivation = "softmax"\n'
    )
    probabilities, _ = Model(load(folder), threads=1).predict(PIXELS)
    logits = alone(model)
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-5)


def test_a_graph_without_a_batch_axis_runs_image_by_image(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [("Reshape", ["image", "to"], ["flat"], {}), ("MatMul", ["flat", "w"], ["logits"], {})]
    model = make_graph(nodes, {"to": np.array([192]), "w": random(192, 4)}, ["logits"], image=(3, 8, 8))
    notes: list[str] = []
    bundle = init_bundle(model, tmp_path / "bundle", note=notes.append)
    assert bundle.input.layout == "CHW"
    colours = np.repeat(PIXELS[..., None], 3, axis=3)
    probabilities, embeddings = Model(bundle, threads=1).predict(colours)
    logits = colours.transpose(0, 3, 1, 2).reshape(7, -1).astype(np.float32) / 255 @ random(192, 4)
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-5)
    assert embeddings.shape == (7, 192)
    assert any("a single image" in note for note in notes)
