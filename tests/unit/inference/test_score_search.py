"""Which tensor of a graph holds the scores: behind any operator of a head, and as logits or probabilities."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.support.classifier_heads import BODY, HEAD, PIXELS, WEIGHTS, Make, softmax, tensor
from tests.support.graphs import Nodes, random
from tidemark.inference.bundle import load
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model

HEADS: dict[str, tuple[Nodes, dict[str, Any]]] = {
    "softmax by hand": (
        [
            *HEAD,
            ("ReduceMax", ["scores"], ["top"], {"axes": [1]}),
            ("Sub", ["scores", "top"], ["under"], {}),
            ("Exp", ["under"], ["powers"], {}),
            ("ReduceSum", ["powers", "one"], ["total"], {}),
            ("Div", ["powers", "total"], ["out"], {}),
        ],
        {"one": np.array([1])},
    ),
    "a temperature": (
        [*HEAD, ("Div", ["scores", "t"], ["cool"], {}), ("Softmax", ["cool"], ["out"], {"axis": 1})],
        {"t": np.array([1.0], np.float32)},
    ),
    "tanh cap": ([*HEAD, ("Tanh", ["scores"], ["out"], {})], {}),
    "leaky relu": ([*HEAD, ("LeakyRelu", ["scores"], ["out"], {"alpha": 1.0})], {}),
    "gather of classes": ([*HEAD, ("Gather", ["scores", "order"], ["out"], {"axis": 1})], {"order": np.arange(4)}),
    "slice of classes": (
        [*HEAD, ("Slice", ["scores", "from", "to", "axis"], ["out"], {})],
        {"from": np.array([0]), "to": np.array([4]), "axis": np.array([1])},
    ),
    "einsum": (
        [
            ("Einsum", ["hidden", "w2"], ["products"], {"equation": "nd,dk->nk"}),
            ("Add", ["products", "b2"], ["out"], {}),
        ],
        {},
    ),
    "where": (
        [*HEAD, ("IsNaN", ["scores"], ["nan"], {}), ("Where", ["nan", "zero", "scores"], ["out"], {})],
        {"zero": np.array([0], np.float32)},
    ),
    "log of a softmax": (
        [*HEAD, ("Softmax", ["scores"], ["p"], {"axis": 1}), ("Log", ["p"], ["out"], {})],
        {},
    ),
    "log softmax": ([*HEAD, ("LogSoftmax", ["scores"], ["out"], {"axis": 1})], {}),
    "an operator of ONNX Runtime": (
        [
            *HEAD,
            ("com.microsoft::BiasGelu", ["scores", "none"], ["gelu"], {}),
            ("Mul", ["gelu", "no"], ["zero"], {}),
            ("Add", ["scores", "zero"], ["out"], {}),
        ],
        {"none": np.zeros(4, np.float32), "no": np.array([0], np.float32)},
    ),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_is_detected_behind_any_operator(make_graph: Make, tmp_path: Path, kind: str) -> None:
    nodes, extra = HEADS[kind]
    model = make_graph(BODY + nodes, WEIGHTS | extra, ["out"])
    bundle = init_bundle(model, tmp_path / "bundle")
    probabilities, embeddings = Model(bundle, threads=1).predict(PIXELS)
    scores = tensor(model, "hidden") @ WEIGHTS["w2"] + WEIGHTS["b2"]
    expected = softmax(np.tanh(scores) if kind == "tanh cap" else scores)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(embeddings, tensor(model, "hidden"), atol=1e-5)


@pytest.mark.parametrize("has_label", [True, False])
def test_the_scores_of_a_zip_map_are_read(make_graph: Make, tmp_path: Path, has_label: bool) -> None:
    nodes: Nodes = [
        *BODY,
        *HEAD,
        ("Softmax", ["scores"], ["p"], {"axis": 1}),
        ("ai.onnx.ml::ZipMap", ["p"], ["out"], {"classlabels_strings": ["a", "b", "c", "d"]}),
        ("ArgMax", ["p"], ["label"], {"axis": 1, "keepdims": 0}),
    ]
    model = make_graph(nodes, WEIGHTS, ["label", "out"] if has_label else ["out"])
    notes: list[str] = []
    bundle = init_bundle(model, tmp_path / "bundle", note=notes.append)
    assert (bundle.output.probabilities, bundle.output.activation, bundle.output.embedding) == ("p", "none", "hidden")
    assert any("made of the scores p" in note for note in notes)
    np.testing.assert_allclose(Model(bundle, threads=1).predict(PIXELS)[0], tensor(model, "p"), atol=1e-5)
    spec = (bundle.folder / "model.toml").read_text()
    (bundle.folder / "model.toml").write_text(spec.replace('probabilities = "p"', 'probabilities = "out"'))
    onnx.save(onnx.load(model), bundle.model_path)
    by_hand = Model(load(bundle.folder), threads=1)
    np.testing.assert_allclose(by_hand.predict(PIXELS)[0], tensor(model, "p"), atol=1e-5)


@pytest.mark.parametrize("operator", ["ArgMax", "TopK"])
def test_the_scores_before_a_selection_are_read(make_graph: Make, tmp_path: Path, operator: str) -> None:
    selection: dict[str, Nodes] = {
        "ArgMax": [("ArgMax", ["scores"], ["out"], {"axis": 1})],
        "TopK": [("TopK", ["scores", "two"], ["out", "places"], {"axis": 1})],
    }
    outputs = ["out"] if operator == "ArgMax" else ["out", "places"]
    model = make_graph([*BODY, *HEAD, *selection[operator]], WEIGHTS | {"two": np.array([2])}, outputs)
    bundle = init_bundle(model, tmp_path / "bundle")
    assert (bundle.output.probabilities, len(bundle.labels)) == ("scores", 4)


def test_a_local_function_is_read_through(make_graph: Make, tmp_path: Path) -> None:
    proto = onnx.load(make_graph([*BODY, *HEAD, ("my::Sharpen", ["scores"], ["out"], {})], WEIGHTS, ["out"]))
    function = helper.make_function(
        "my", "Sharpen", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 17)]
    )
    proto.functions.append(function)
    onnx.save(proto, tmp_path / "local.onnx")
    bundle = init_bundle(tmp_path / "local.onnx", tmp_path / "bundle")
    assert bundle.output.embedding == "hidden"
    assert Model(bundle, threads=1).predict(PIXELS)[0].shape == (7, 4)


def quantised(classes: int, steps: int, kind: Any = np.uint8) -> tuple[Nodes, dict[str, Any]]:
    nodes: Nodes = [
        *BODY,
        ("Gemm", ["hidden", "wide"], ["scores"], {}),
        ("Softmax", ["scores"], ["p"], {"axis": 1}),
        ("QuantizeLinear", ["p", "step", "zero"], ["q"], {}),
        ("DequantizeLinear", ["q", "step", "zero"], ["out"], {}),
    ]
    wide = 6 * random(6, classes, seed=3)
    return nodes, WEIGHTS | {"wide": wide, "step": np.float32(1 / steps), "zero": np.zeros((), kind)}


@pytest.mark.parametrize(
    ("classes", "steps", "kind"),
    [
        (100, 256, np.uint8),
        (1000, 256, np.uint8),
        (10, 127, np.int8),
        (10, 256, np.uint8),
        (100, 255, np.uint8),
        (40, 65535, np.uint16),
    ],
)
def test_a_quantised_softmax_is_probabilities(
    make_graph: Make, tmp_path: Path, classes: int, steps: int, kind: Any
) -> None:
    nodes, weights = quantised(classes, steps, kind)
    model = make_graph(nodes, weights, ["out"], opset=21)
    bundle = init_bundle(model, tmp_path / "bundle")
    assert bundle.output.activation == "none"
    probabilities, _ = Model(bundle, threads=1).predict(PIXELS)
    true = tensor(model, "p")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=2e-3)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), true.argmax(axis=1))
    assert np.abs(probabilities.max(axis=1) / true.max(axis=1) - 1).max() < 0.7


@pytest.mark.parametrize("shape", ["N x 1", "N"])
@pytest.mark.parametrize("ends", ["logit", "sigmoid"])
@pytest.mark.parametrize("scale", [9.0, 0.01])
def test_a_single_score_is_a_logit_unless_the_graph_has_a_sigmoid(
    make_graph: Make, tmp_path: Path, shape: str, ends: str, scale: float
) -> None:
    nodes: Nodes = [*BODY, ("Gemm", ["hidden", "w3", "b3"], ["one"], {})]
    last = "one"
    if ends == "sigmoid":
        nodes, last = [*nodes, ("Sigmoid", ["one"], ["p"], {})], "p"
    if shape == "N":
        nodes, last = [*nodes, ("Squeeze", [last, "axis"], ["out"], {})], "out"
    weights = WEIGHTS | {"w3": scale * random(6, 1), "b3": np.array([0.4], np.float32), "axis": np.array([1])}
    model = make_graph(nodes, weights, [last])
    notes: list[str] = []
    bundle = init_bundle(model, tmp_path / "bundle", note=notes.append)
    assert bundle.labels == ("0", "1")
    assert bundle.output.activation == ("sigmoid" if ends == "logit" else "none")
    assert any("logit of the second class" in note for note in notes) == (ends == "logit")
    logit = tensor(model, "one").reshape(-1)
    np.testing.assert_allclose(Model(bundle, threads=1).predict(PIXELS)[0][:, 1], 1 / (1 + np.exp(-logit)), rtol=1e-4)


def test_a_sigmoid_and_its_complement_are_two_classes(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [
        *BODY,
        ("Gemm", ["hidden", "w3"], ["one"], {}),
        ("Sigmoid", ["one"], ["p"], {}),
        ("Sub", ["unit", "p"], ["rest"], {}),
        ("Concat", ["rest", "p"], ["out"], {"axis": 1}),
    ]
    model = make_graph(nodes, WEIGHTS | {"w3": random(6, 1), "unit": np.array([1], np.float32)}, ["out"])
    bundle = init_bundle(model, tmp_path / "bundle")
    assert (bundle.output.activation, len(bundle.labels)) == ("none", 2)
    np.testing.assert_allclose(Model(bundle, threads=1).predict(PIXELS)[0], tensor(model, "out"), rtol=1e-5)
