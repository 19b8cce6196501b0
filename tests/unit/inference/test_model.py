from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidemark.inference.bundle import BrokenBundle, Bundle, load
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model, ModelFailed, activate

Make = Callable[..., Path]
Weights = Callable[..., np.ndarray]
PIXELS = np.random.default_rng(5).integers(0, 256, (6, 8, 8), dtype=np.uint8)


@pytest.fixture
def bundle(make_mlp: Make, tmp_path: Path) -> Bundle:
    return init_bundle(make_mlp(), tmp_path / "bundle")


def with_output(bundle: Bundle, **changes: Any) -> Bundle:
    return replace(bundle, output=bundle.output.model_copy(update=changes))


def test_rows_do_not_depend_on_the_batch(bundle: Bundle) -> None:
    model = Model(bundle, threads=1)
    probabilities, embeddings = model.predict(PIXELS)
    assert (probabilities.shape, embeddings.shape, model.embedding_size) == ((6, 4), (6, 6), 6)
    assert probabilities.dtype == embeddings.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    for row, image in enumerate(PIXELS):
        alone = model.predict(image[None])
        np.testing.assert_allclose(alone[0][0], probabilities[row], rtol=1e-4)
        np.testing.assert_allclose(alone[1][0], embeddings[row], rtol=1e-4, atol=1e-6)


def test_scale_mean_and_std_come_before_the_model(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: list[Any] = [("Flatten", ["image"], ["flat"], {}), ("Gemm", ["flat", "w"], ["logits"], {})]
    model = make_graph(nodes, {"w": weights(12, 4)}, ["logits"], image=("N", 3, 2, 2))
    bundle = init_bundle(model, tmp_path / "bundle", preset="imagenet")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3), dtype=np.uint8)
    seen = Model(bundle).predict(pixels)[1].reshape(3, 3, 2, 2)
    mean, std = np.array(bundle.input.mean), np.array(bundle.input.std)
    np.testing.assert_allclose(seen.transpose(0, 2, 3, 1), (pixels / 255 - mean) / std, rtol=1e-5, atol=1e-5)


def test_an_omitted_embedding_is_detected(bundle: Bundle) -> None:
    expected = Model(bundle).predict(PIXELS)[1]
    np.testing.assert_array_equal(Model(with_output(bundle, embedding=None)).predict(PIXELS)[1], expected)


def test_any_tensor_of_the_graph_can_be_the_embedding(bundle: Bundle) -> None:
    rectified = Model(bundle).predict(PIXELS)[1]
    summed = Model(with_output(bundle, embedding="sum")).predict(PIXELS)[1]
    np.testing.assert_allclose(np.maximum(summed, 0), rectified, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"embedding": "nowhere"},
            "no tensor 'nowhere' in the graph, whose outputs are logits, hidden; leave output.embedding out",
        ),
        ({"probabilities": "nowhere"}, "no tensor 'nowhere' in the graph, whose outputs are logits, hidden"),
        ({"activation": "none"}, "set output.activation in model.toml"),
    ],
)
def test_an_output_that_is_not_so(bundle: Bundle, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BrokenBundle, match=says):
        Model(with_output(bundle, **changes))


def test_an_input_that_is_not_so(bundle: Bundle) -> None:
    wrong = replace(bundle, input=bundle.input.model_copy(update={"name": "pixels"}))
    with pytest.raises(BrokenBundle, match="expected one input 'pixels', found image"):
        Model(wrong)
    wrong = replace(bundle, input=bundle.input.model_copy(update={"size": (9, 9)}))
    with pytest.raises(BrokenBundle, match="the model cannot run"):
        Model(wrong)


def test_labels_that_do_not_fit(bundle: Bundle) -> None:
    with pytest.raises(BrokenBundle, match=r"the model answers 4 classes, model.toml has 2 labels"):
        Model(replace(bundle, labels=("a", "b")))


def test_a_file_changed_since_it_was_loaded(bundle: Bundle) -> None:
    bundle.model_path.write_bytes(bundle.model_path.read_bytes() + b"\x00")
    with pytest.raises(BrokenBundle, match="has changed since"):
        Model(bundle)


def test_a_file_that_the_runtime_cannot_load(bundle: Bundle) -> None:
    bundle.model_path.write_bytes(b"nonsense")
    with pytest.raises(BrokenBundle, match="cannot load it"):
        Model(load(bundle.folder))


def test_nan_is_no_answer(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: list[Any] = [
        ("Flatten", ["image"], ["flat"], {}),
        ("Sub", ["half", "flat"], ["under"], {}),
        ("Sqrt", ["under"], ["roots"], {}),
        ("Gemm", ["roots", "w"], ["logits"], {}),
    ]
    model = make_graph(nodes, {"half": np.array([0.5], np.float32), "w": weights(64, 4)}, ["logits"])
    ready = Model(init_bundle(model, tmp_path / "bundle"))
    assert np.isfinite(ready.predict(PIXELS // 4)[0]).all()
    with pytest.raises(ModelFailed, match="NaN or infinity"):
        ready.predict(PIXELS)


def test_activations() -> None:
    extreme = np.array([[1000, 0, -1000], [0, 0, 0]], np.float32)
    np.testing.assert_allclose(activate(extreme, "softmax"), np.array([[1, 0, 0], [1 / 3] * 3]), rtol=1e-6)
    np.testing.assert_allclose(
        activate(np.array([[0], [-500]], np.float32), "sigmoid"), np.array([[0.5, 0.5], [1, 0]]), atol=1e-6
    )
    np.testing.assert_allclose(activate(np.array([[0.2]], np.float32), "none"), [[0.8, 0.2]], rtol=1e-6)
