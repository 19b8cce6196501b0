"""Bundles with another last layer or corrected posteriors, of models of every make."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from tests.support.graphs import Nodes, build, mlp, random
from tidemark.drift.temperature_scaling import PriorCorrection
from tidemark.errors import ConfigurationError
from tidemark.inference import bundle as bundles
from tidemark.inference.bundle import BrokenBundle, Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.remedy.adaptation.head import Head
from tidemark.remedy.adaptation.onnx_export import with_head, with_priors

BODY: Nodes = [
    ("Conv", ["image", "kernel"], ["map"], {"kernel_shape": [3, 3]}),
    ("Relu", ["map"], ["features"], {}),
]
FLAT: Nodes = [("Flatten", ["image"], ["flat"], {})]


def logits(path: Path) -> Path:
    return mlp(path)


def probabilities(path: Path) -> Path:
    return mlp(path, scores="probabilities")


def old_opset(path: Path) -> Path:
    return mlp(path, scores="probabilities", opset=11)


def channels_last(path: Path) -> Path:
    return mlp(path, image=("N", 8, 6, 3))


def maps(path: Path) -> Path:
    nodes = [
        *BODY,
        ("Conv", ["features", "k"], ["maps"], {}),
        ("GlobalAveragePool", ["maps"], ["logits"], {}),
    ]
    return build(path, nodes, {"kernel": random(6, 1, 3, 3), "k": random(4, 6, 1, 1)}, ["logits"])


def maps_new_opset(path: Path) -> Path:
    nodes = [
        *BODY,
        ("Conv", ["features", "k"], ["maps"], {}),
        ("GlobalAveragePool", ["maps"], ["means"], {}),
        ("Flatten", ["means"], ["sums"], {}),
        ("Softmax", ["sums"], ["scores"], {}),
    ]
    return build(path, nodes, {"kernel": random(6, 1, 3, 3), "k": random(4, 6, 1, 1)}, ["scores"], opset=18)


def half(path: Path) -> Path:
    nodes = [*FLAT, ("Gemm", ["flat", "w"], ["logits"], {}), ("Softmax", ["logits"], ["scores"], {})]
    return build(path, nodes, {"w": random(64, 4).astype(np.float16)}, ["scores"], dtype=TensorProto.FLOAT16)


def sigmoid(path: Path) -> Path:
    nodes = [*FLAT, ("Gemm", ["flat", "w"], ["sum"], {}), ("Sigmoid", ["sum"], ["out"], {})]
    return build(path, nodes, {"w": random(64, 1)}, ["out"])


def several_outputs(path: Path) -> Path:
    nodes = [
        *FLAT,
        ("Gemm", ["flat", "w"], ["hidden"], {}),
        ("Relu", ["hidden"], ["rectified"], {}),
        ("Gemm", ["rectified", "v"], ["logits"], {}),
        ("Softmax", ["logits"], ["scores"], {}),
        ("ReduceMean", ["flat"], ["brightness"], {"axes": [1]}),
    ]
    tensors = {"w": random(64, 6), "v": random(6, 4, seed=1)}
    return build(path, nodes, tensors, ["logits", "scores", "brightness"])


MAKES = [
    logits, probabilities, old_opset, channels_last, maps, maps_new_opset, half, sigmoid, several_outputs
]  # fmt: skip


@pytest.fixture(params=MAKES, ids=lambda make: make.__name__)
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Bundle:
    return init_bundle(request.param(tmp_path / "model.onnx"), tmp_path / "bundle")


def pixels(bundle: Bundle) -> np.ndarray:
    colour = [3] if bundle.input.channels == 3 else []
    return np.random.default_rng(1).integers(0, 256, (40, *bundle.input.size, *colour), dtype=np.uint8)


def test_another_last_layer(bundle: Bundle, tmp_path: Path) -> None:
    _, embeddings = Model(bundle).predict(pixels(bundle))
    k = len(bundle.labels)
    head = Head(random(embeddings.shape[1], k, seed=5).astype(np.float64), np.linspace(-1, 1, k))
    written = with_head(bundle, head, tmp_path / "adapted")
    probabilities, same = Model(written).predict(pixels(bundle))
    room = 2e-3 if "float16" in str(io(bundle)) else 1e-5
    np.testing.assert_allclose(probabilities, head.probabilities(embeddings), atol=room)
    np.testing.assert_array_equal(same, embeddings)
    assert (written.name, written.version) == (bundle.name, "1+adapted")
    assert io(written)[0] == io(bundle)[0]
    assert io(written)[1][bundle.output.probabilities] == io(bundle)[1][bundle.output.probabilities]
    assert bundles.load(tmp_path / "adapted") == written


def test_corrected_posteriors(bundle: Bundle, tmp_path: Path) -> None:
    k = len(bundle.labels)
    correction = PriorCorrection(0.7, np.linspace(0.1, -0.1, k), np.linspace(0.2, 3, k))
    before, embeddings = Model(bundle).predict(pixels(bundle))
    written = with_priors(bundle, correction, tmp_path / "corrected")
    after, same = Model(written).predict(pixels(bundle))
    room = 2e-3 if "float16" in str(io(bundle)) else 1e-5
    np.testing.assert_allclose(after, correction(before), atol=room)
    np.testing.assert_array_equal(same, embeddings)
    assert np.abs(after - before).max() > 0.05
    assert io(written) == io(bundle)
    assert written.version == "1+corrected"


def plain(*weights: float) -> PriorCorrection:
    return PriorCorrection(1.0, np.zeros(len(weights)), np.array(weights))


def test_a_correction_can_be_undone(tmp_path: Path) -> None:
    bundle = init_bundle(probabilities(tmp_path / "model.onnx"), tmp_path / "bundle")
    once = with_priors(bundle, plain(0.5, 1.0, 2.0, 4.0), tmp_path / "once")
    back = with_priors(once, plain(2.0, 1.0, 0.5, 0.25), tmp_path / "back")
    images = pixels(bundle)
    np.testing.assert_allclose(Model(back).predict(images)[0], Model(bundle).predict(images)[0], atol=1e-5)


def test_a_class_that_was_removed_is_never_answered(tmp_path: Path) -> None:
    bundle = init_bundle(logits(tmp_path / "model.onnx"), tmp_path / "bundle")
    written = with_priors(bundle, plain(0.0, 1.0, 1.0, 1.0), tmp_path / "corrected")
    assert Model(written).predict(pixels(bundle))[0][:, 0].max() < 1e-6


def test_the_old_last_layer_is_removed_and_other_outputs_stay(tmp_path: Path) -> None:
    bundle = init_bundle(several_outputs(tmp_path / "model.onnx"), tmp_path / "bundle")
    head = Head(random(6, 4).astype(np.float64), np.zeros(4))
    graph = onnx.load(with_head(bundle, head, tmp_path / "adapted").model_path).graph
    assert {value.name for value in graph.output} == {"scores", "brightness", "rectified"}
    assert "v" not in {tensor.name for tensor in graph.initializer}


def test_a_folder_in_use_is_unchanged(tmp_path: Path) -> None:
    bundle = init_bundle(logits(tmp_path / "model.onnx"), tmp_path / "bundle")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").touch()
    with pytest.raises(ConfigurationError, match="not an empty folder"):
        with_priors(bundle, plain(1, 1, 1, 1), tmp_path / "used")
    assert (tmp_path / "used" / "mine").exists()


def test_files_that_were_written_wrongly_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = init_bundle(logits(tmp_path / "model.onnx"), tmp_path / "bundle")
    monkeypatch.setattr("tidemark.remedy.adaptation.onnx_export.LOG_OFFSET", 0.1)
    with pytest.raises(BrokenBundle, match="is off by"):
        with_priors(bundle, plain(1, 1, 9, 1), tmp_path / "corrected")
    assert not (tmp_path / "corrected").exists()


def io(bundle: Bundle) -> list[dict[str, Any]]:
    """Names, types and shapes of a model's inputs and of its outputs, the batch left out."""
    session = onnxruntime.InferenceSession(bundle.model_path)
    ends = session.get_inputs(), session.get_outputs()
    return [{value.name: (value.type, value.shape[1:]) for value in values} for values in ends]
