"""Graphs whose scores cannot be chosen, or are none: what there is and what is needed is named."""

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from tests.support.classifier_heads import BODY, HEAD, PIXELS, WEIGHTS, Make, tensor
from tests.support.graphs import Nodes, random
from tidemark.inference.bundle import BrokenBundle, load
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model, ModelFailed
from tidemark.inference.model_examination import Hints


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


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_a_model_that_answers_no_numbers_is_refused(make_graph: Make, tmp_path: Path, factor: float) -> None:
    nodes: Nodes = [*BODY, *HEAD, ("Mul", ["scores", "factor"], ["out"], {})]
    model = make_graph(nodes, WEIGHTS | {"factor": np.asarray(factor, np.float32)}, ["out"])
    with pytest.raises(BrokenBundle, match="out: NaN or infinity for each of 8 images"):
        init_bundle(model, tmp_path / "bundle")


def head_in_a_subgraph(make_graph: Make, read: str, *inner: NodeProto) -> Path:
    branch = helper.make_graph(
        [*inner, helper.make_node("Gemm", [inner[-1].output[0] if inner else read, "w"], ["scores"])],
        "branch",
        [],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])],
    )
    nodes: Nodes = [*BODY, ("If", ["yes"], ["out"], {"then_branch": branch, "else_branch": branch})]
    weights = WEIGHTS | {"yes": np.array(True), "w": WEIGHTS["w2"] if read == "hidden" else random(64, 4)}
    return make_graph(nodes, weights, ["out"])


def test_the_embedding_of_a_head_in_a_subgraph_is_the_row_that_the_subgraph_reads(
    make_graph: Make, tmp_path: Path
) -> None:
    bundle = init_bundle(head_in_a_subgraph(make_graph, "hidden"), tmp_path / "bundle", hints=Hints(output="out"))
    assert bundle.output.embedding == "hidden"
    assert Model(bundle, threads=1).predict(PIXELS)[1].shape == (7, 6)


def test_a_network_in_a_subgraph_that_reads_the_image_is_named(make_graph: Make, tmp_path: Path) -> None:
    model = head_in_a_subgraph(make_graph, "image", helper.make_node("Flatten", ["image"], ["inner"]))
    with pytest.raises(BrokenBundle, match=r"inside the operator If.*--embedding"):
        init_bundle(model, tmp_path / "bundle", hints=Hints(output="out"))
    bundle = init_bundle(model, tmp_path / "bundle", hints=Hints(output="out", embedding="hidden"))
    assert Model(bundle, threads=1).predict(PIXELS)[1].shape == (7, 6)
