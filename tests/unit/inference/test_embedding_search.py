"""Which tensor of a graph becomes the embedding."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from tests.support.classifier_heads import BODY, HEAD, PIXELS, WEIGHTS, Make, tensor
from tests.support.graphs import Nodes, random
from tidemark.inference.bundle import BrokenBundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.model_examination import Hints


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


def test_an_embedding_that_two_heads_normalise_is_exposed_before_that(make_graph: Make, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("is_chosen", [True, False], ids=["chosen", "named"])
def test_an_embedding_in_integers_is_dequantised(make_graph: Make, tmp_path: Path, is_chosen: bool) -> None:
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
        "step": np.float32(0.02), "zero": np.uint8(17), "zero_w": np.int8(0), "map": np.array([-1, 6, 1, 1]),
        "w_q": (60 * random(6, 4)).clip(-127, 127).astype(np.int8),
    }  # fmt: skip
    model = make_graph(nodes, WEIGHTS | {k: np.asarray(v) for k, v in extra.items()}, ["out"])
    bundle = init_bundle(model, tmp_path / "b", hints=Hints() if is_chosen else Hints(embedding="flat_q"))
    hidden = tensor(model, "hidden")
    assert hidden.max() > 0.5
    np.testing.assert_allclose(Model(bundle, threads=1).predict(PIXELS)[1], hidden, atol=0.011)


@pytest.mark.parametrize("ending", ["probabilities", "logits"])
def test_scores_that_leave_the_graph_in_8_bits_are_dequantised(make_graph: Make, tmp_path: Path, ending: str) -> None:
    softmax: Nodes = [("Softmax", ["scores"], ["probabilities"], {"axis": 1})] if ending == "probabilities" else []
    scores = "probabilities" if ending == "probabilities" else "scores"
    nodes: Nodes = [*BODY, *HEAD, *softmax, ("QuantizeLinear", [scores, "step", "zero"], ["out"], {})]
    step, zero = (1 / 256, 0) if ending == "probabilities" else (0.05, 128)
    weights = WEIGHTS | {"step": np.asarray(step, np.float32), "zero": np.asarray(zero, np.uint8)}
    model = make_graph(nodes, weights, ["out"])
    bundle = init_bundle(model, tmp_path / "b")
    logits = tensor(model, "scores")
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(Model(bundle, threads=1).predict(PIXELS)[0], expected, atol=0.02)


def test_the_mean_of_two_heads_has_one_embedding_exposed_and_the_other_named(make_graph: Make, tmp_path: Path) -> None:
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
