"""Classifiers with heads of every kind: the scores, what makes them probabilities, and the embedding are found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests.support.graphs import Nodes, random
from tidemark.inference.bundle import BrokenBundle, load
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model_examination import Hints
from tidemark.inference.session import Model, ModelFailed

Make = Callable[..., Path]
PIXELS = np.random.default_rng(5).integers(0, 256, (7, 8, 8), dtype=np.uint8)
BODY: Nodes = [
    ("Flatten", ["image"], ["flat"], {}),
    ("Gemm", ["flat", "w1", "b1"], ["sum"], {}),
    ("Relu", ["sum"], ["hidden"], {}),
]
HEAD: Nodes = [("Gemm", ["hidden", "w2", "b2"], ["scores"], {})]
WEIGHTS: dict[str, Any] = {
    "w1": random(64, 6),
    "b1": random(6),
    "w2": 3 * random(6, 4, seed=1),
    "b2": random(4, seed=2),
}


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def tensor(model: Path, name: str, pixels: np.ndarray = PIXELS) -> np.ndarray:
    """Return any tensor of the original graph, a row an image."""
    proto = onnx.load(model)
    if name not in [output.name for output in proto.graph.output]:
        proto.graph.output.append(onnx.ValueInfoProto(name=name))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([name], {"image": pixels[:, None].astype(np.float32) / 255})[0])


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
def test_a_head_is_found_behind_any_operator(make_graph: Make, tmp_path: Path, kind: str) -> None:
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


def test_the_mean_of_two_heads_has_one_embedding_taken_and_the_other_named(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [
        *BODY,
        ("Gemm", ["flat", "w1"], ["other"], {}),
        *HEAD,
        ("Gemm", ["other", "w2"], ["second"], {}),
        ("Mean", ["scores", "second"], ["out"], {}),
    ]
    notes: list[str] = []
    bundle = init_bundle(make_graph(nodes, WEIGHTS, ["out"]), tmp_path / "bundle", note=notes.append)
    assert bundle.output.embedding == "hidden"
    assert any("several embeddings lead to the scores: hidden, other" in note for note in notes)
    chosen = init_bundle(make_graph(nodes, WEIGHTS, ["out"]), tmp_path / "other", hints=Hints(embedding="other"))
    assert chosen.output.embedding == "other"


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


def two_heads(make_graph: Make) -> Path:
    nodes: Nodes = [
        *BODY,
        ("Gemm", ["hidden", "w5"], ["age"], {}),
        ("Gemm", ["hidden", "w2"], ["gender_class"], {}),
    ]
    return make_graph(nodes, WEIGHTS | {"w5": random(6, 5, seed=4)}, ["age", "gender_class"])


def test_two_heads_are_named_and_asked_for(make_graph: Make, tmp_path: Path) -> None:
    model = two_heads(make_graph)
    with pytest.raises(BrokenBundle, match=r"class scores: age \(5\), gender_class \(4\); choose one by --output"):
        init_bundle(model, tmp_path / "bundle")
    bundle = init_bundle(model, tmp_path / "bundle", hints=Hints(output="age"))
    assert (bundle.output.probabilities, len(bundle.labels), bundle.output.embedding) == ("age", 5, "hidden")


@pytest.mark.parametrize("softmax", [False, True])
def test_heads_that_are_joined_are_named_and_asked_for(make_graph: Make, tmp_path: Path, softmax: bool) -> None:
    parts = ["age", "gender"]
    nodes: Nodes = [*BODY, ("Gemm", ["hidden", "w5"], ["age"], {}), ("Gemm", ["hidden", "w2"], ["gender"], {})]
    if softmax:
        nodes += [("Softmax", [part], [f"{part}_p"], {}) for part in parts]
        parts = [f"{part}_p" for part in parts]
    nodes += [("Concat", parts, ["out"], {"axis": 1})]
    model = make_graph(nodes, WEIGHTS | {"w5": random(6, 5, seed=4)}, ["out"])
    with pytest.raises(BrokenBundle, match=rf"several heads: {parts[0]}, {parts[1]}; choose one by --output NAME"):
        init_bundle(model, tmp_path / "bundle")
    bundle = init_bundle(model, tmp_path / "bundle", hints=Hints(output=parts[0]))
    assert (bundle.output.probabilities, len(bundle.labels)) == (parts[0], 5)
    if not softmax:
        assert len(init_bundle(model, tmp_path / "both", hints=Hints(output="out")).labels) == 9


def test_a_softmax_over_joined_heads_is_one_set_of_classes(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [
        *BODY,
        ("Gemm", ["hidden", "w5"], ["first"], {}),
        ("Gemm", ["hidden", "w2"], ["second"], {}),
        ("Concat", ["first", "second"], ["joined"], {"axis": 1}),
        ("Softmax", ["joined"], ["out"], {}),
    ]
    model = make_graph(nodes, WEIGHTS | {"w5": random(6, 5, seed=4)}, ["out"])
    bundle = init_bundle(model, tmp_path / "bundle")
    assert (bundle.output.activation, len(bundle.labels)) == ("none", 9)


def test_negative_log_probabilities_are_refused_and_log_probabilities_read(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [*BODY, *HEAD, ("LogSoftmax", ["scores"], ["log_p"], {}), ("Neg", ["log_p"], ["out"], {})]
    model = make_graph(nodes, WEIGHTS, ["out"])
    with pytest.raises(BrokenBundle, match="answers -log p, which is smallest for the likeliest class"):
        init_bundle(model, tmp_path / "bundle")
    bundle = init_bundle(model, tmp_path / "bundle", hints=Hints(output="log_p"))
    probabilities, _ = Model(bundle, threads=1).predict(PIXELS)
    np.testing.assert_allclose(probabilities, np.exp(tensor(model, "log_p")), rtol=1e-4)


def test_independent_sigmoids_say_what_is_needed(make_graph: Make, tmp_path: Path) -> None:
    model = make_graph([*BODY, *HEAD, ("Sigmoid", ["scores"], ["out"], {})], WEIGHTS, ["out"])
    with pytest.raises(BrokenBundle, match=r"multi-label model.*--activation normalise"):
        init_bundle(model, tmp_path / "bundle")
    bundle = init_bundle(model, tmp_path / "bundle", hints=Hints(activation="normalise"))
    probabilities, _ = Model(bundle, threads=1).predict(PIXELS)
    sigmoids = tensor(model, "out")
    np.testing.assert_allclose(probabilities, sigmoids / sigmoids.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("activation", ["none", "tanh"])
def test_an_activation_that_makes_no_probabilities_is_refused(
    make_graph: Make, tmp_path: Path, activation: str
) -> None:
    model = make_graph([*BODY, *HEAD], WEIGHTS, ["scores"])
    with pytest.raises(BrokenBundle, match="--activation"):
        init_bundle(model, tmp_path / "bundle", hints=Hints(activation=activation))


def test_an_answer_that_is_not_a_distribution_fails_at_the_request(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [("Flatten", ["image"], ["flat"], {}), ("Gemm", ["flat", "w", "b"], ["out"], {})]
    model = make_graph(nodes, {"w": 0.02 * np.ones((64, 1), np.float32), "b": np.array([0.1], np.float32)}, ["out"])
    bundle = init_bundle(model, tmp_path / "bundle")
    spec = bundle.folder / "model.toml"
    spec.write_text(spec.read_text().replace('activation = "sigmoid"', 'activation = "none"'))
    by_hand = Model(load(bundle.folder), threads=1)
    assert by_hand.predict(PIXELS // 4)[0].shape == (7, 2)
    with pytest.raises(ModelFailed, match=r"not probabilities: set output\.activation"):
        by_hand.predict(np.full((1, 8, 8), 255, np.uint8))


def test_a_head_in_a_subgraph_is_named(make_graph: Make, tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Gemm", ["hidden", "w2"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, ["N", 4])],
    )
    nodes: Nodes = [*BODY, ("If", ["yes"], ["out"], {"then_branch": branch, "else_branch": branch})]
    model = make_graph(nodes, WEIGHTS | {"yes": np.array(True)}, ["out"])
    with pytest.raises(BrokenBundle, match=r"inside the operator If.*--embedding"):
        init_bundle(model, tmp_path / "bundle", hints=Hints(output="out"))
    bundle = init_bundle(model, tmp_path / "bundle", hints=Hints(output="out", embedding="hidden"))
    assert Model(bundle, threads=1).predict(PIXELS)[1].shape == (7, 6)


def test_an_embedding_of_another_name_is_refused_with_the_graph_s_outputs(make_mlp: Make, tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match="no tensor 'nowhere' in the graph, whose outputs are logits"):
        init_bundle(make_mlp(), tmp_path / "bundle", hints=Hints(embedding="nowhere"))


def test_a_map_with_features_last_is_averaged_over_its_positions(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [
        ("Transpose", ["image"], ["last"], {"perm": [0, 2, 3, 1]}),
        ("MatMul", ["last", "up"], ["map"], {}),
        ("Relu", ["map"], ["features"], {}),
        ("MatMul", ["features", "w2"], ["maps"], {}),
        ("ReduceMean", ["maps"], ["out"], {"axes": [1, 2], "keepdims": 0}),
    ]
    model = make_graph(nodes, WEIGHTS | {"up": random(1, 6)}, ["out"])
    bundle = init_bundle(model, tmp_path / "bundle")
    assert (bundle.output.embedding, bundle.output.embedding_layout) == ("features", "NHWC")
    expected = tensor(model, "features").mean(axis=(1, 2))
    np.testing.assert_allclose(Model(bundle, threads=1).predict(PIXELS)[1], expected, rtol=1e-4, atol=1e-6)


def test_an_embedding_that_two_heads_normalise_is_taken_before_that(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [
        *BODY,
        ("BatchNormalization", ["hidden", "g", "g0", "g0", "g"], ["first"], {}),
        ("BatchNormalization", ["hidden", "g2", "g0", "g0", "g"], ["second"], {}),
        ("Gemm", ["first", "w2"], ["one"], {}),
        ("Gemm", ["second", "w2"], ["two"], {}),
        ("Mean", ["one", "two"], ["out"], {}),
    ]
    norms = {"g": np.ones(6, np.float32), "g0": np.zeros(6, np.float32), "g2": 2 * np.ones(6, np.float32)}
    bundle = init_bundle(make_graph(nodes, WEIGHTS | norms, ["out"]), tmp_path / "bundle")
    assert bundle.output.embedding == "hidden"


def test_the_embedding_of_prototypes_is_what_they_are_compared_with(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [
        *BODY,
        ("Unsqueeze", ["hidden", "one"], ["rows"], {}),
        ("Sub", ["rows", "prototypes"], ["differences"], {}),
        ("Mul", ["differences", "differences"], ["squares"], {}),
        ("ReduceSum", ["squares", "two"], ["distances"], {"keepdims": 0}),
        ("Neg", ["distances"], ["out"], {}),
    ]
    extra = {"one": np.array([1]), "two": np.array([2]), "prototypes": random(1, 4, 6)}
    model = make_graph(nodes, WEIGHTS | extra, ["out"])
    _, embeddings = Model(init_bundle(model, tmp_path / "bundle"), threads=1).predict(PIXELS)
    np.testing.assert_allclose(embeddings, tensor(model, "hidden"), atol=1e-5)


def test_the_scale_of_a_dynamic_quantisation_leads_to_no_other_embedding(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [("Flatten", ["image"], ["h0"], {})]
    for layer, weight in enumerate(("q1", "q2")):
        nodes += [
            ("DynamicQuantizeLinear", [f"h{layer}"], [f"x{layer}", f"s{layer}", f"z{layer}"], {}),
            ("MatMulInteger", [f"x{layer}", weight, f"z{layer}"], [f"i{layer}"], {}),
            ("Cast", [f"i{layer}"], [f"f{layer}"], {"to": TensorProto.FLOAT}),
            ("Mul", [f"s{layer}", "step"], [f"t{layer}"], {}),
            ("Mul", [f"f{layer}", f"t{layer}"], [f"h{layer + 1}"], {}),
        ]
    weights = {
        "q1": (90 * random(64, 6)).astype(np.int8),
        "q2": (90 * random(6, 4)).astype(np.int8),
        "step": np.array([0.01], np.float32),
    }
    notes: list[str] = []
    bundle = init_bundle(make_graph(nodes, weights, ["h2"]), tmp_path / "bundle", note=notes.append)
    assert bundle.output.embedding == "h1"
    assert not any("several embeddings" in note for note in notes)


def test_an_embedding_in_integers_is_accepted(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [
        *BODY,
        ("QuantizeLinear", ["hidden", "step", "zero"], ["q"], {}),
        ("MaxPool", ["q4"], ["pooled"], {"kernel_shape": [1, 1]}),
        ("Flatten", ["pooled"], ["flat_q"], {}),
        ("QLinearMatMul", ["flat_q", "step", "zero", "w_q", "step", "zero_w", "step", "zero"], ["out_q"], {}),
        ("DequantizeLinear", ["out_q", "step", "zero"], ["out"], {}),
    ]
    nodes.insert(4, ("Reshape", ["q", "map"], ["q4"], {}))
    extra = {
        "step": np.float32(0.02), "zero": np.uint8(0), "zero_w": np.int8(0), "map": np.array([-1, 6, 1, 1]),
        "w_q": (60 * random(6, 4)).clip(-127, 127).astype(np.int8),
    }  # fmt: skip
    bundle = init_bundle(
        make_graph(nodes, WEIGHTS | {k: np.asarray(v) for k, v in extra.items()}, ["out"]), tmp_path / "b"
    )
    assert bundle.output.embedding == "flat_q"
    assert Model(bundle, threads=1).predict(PIXELS)[1].shape == (7, 6)
