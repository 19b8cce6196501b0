"""Classifiers of scikit-learn: their probabilities, the names of their classes, and an embedding without layers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model

skl2onnx = pytest.importorskip("skl2onnx", reason="it exports scikit-learn's classifiers")
from sklearn.ensemble import RandomForestClassifier  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler  # noqa: E402

# Few grey levels, so that the thresholds of trees, half-way between two of them, are often a third one.
LEVELS = np.arange(0, 256, 15, dtype=np.uint8)
PIXELS = np.random.default_rng(2).choice(LEVELS, (300, 6, 6))
ROWS = (PIXELS.reshape(300, 36) / np.float32(255)).astype(np.float32)
CLASSES = np.array(["apple", "bread", "candle"])
TRUTH = np.digitize(ROWS[:, :6].mean(axis=1), [0.42, 0.58])
INPUT_NOTE = "the embedding is the model's input"


def export(path: Path, classifier: Any, labels: np.ndarray, zipmap: bool = True) -> Path:
    classifier.fit(ROWS[:200], labels[:200])
    onnx = skl2onnx.to_onnx(classifier, ROWS[:1], options={id(classifier): {"zipmap": zipmap}})
    path.write_bytes(onnx.SerializeToString())
    return path


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize(
    "classifier",
    [
        RandomForestClassifier(12, random_state=0),
        LogisticRegression(),
        KNeighborsClassifier(5),
        make_pipeline(MinMaxScaler(), KNeighborsClassifier(5)),
        MLPClassifier((8,), solver="lbfgs", max_iter=2000, random_state=0),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_probabilities_are_scikit_learn_s_and_labels_its_classes(classifier: Any, zipmap: bool, tmp_path: Path) -> None:
    model = export(tmp_path / "m.onnx", classifier, CLASSES[TRUTH], zipmap)
    bundle = init_bundle(model, tmp_path / "bundle")
    assert bundle.labels == tuple(CLASSES)
    probabilities, embeddings = Model(bundle, threads=1).predict(PIXELS[200:])
    np.testing.assert_allclose(probabilities, classifier.predict_proba(ROWS[200:]), atol=1e-5)
    assert np.ptp(embeddings, axis=0).max() > 0


def test_without_a_layer_the_embedding_is_the_input_and_a_note_says_so(tmp_path: Path) -> None:
    notes: list[str] = []
    model = export(tmp_path / "m.onnx", KNeighborsClassifier(5), TRUTH)
    bundle = init_bundle(model, tmp_path / "bundle", note=notes.append)
    np.testing.assert_allclose(Model(bundle, threads=1).predict(PIXELS)[1], ROWS, atol=1e-6)
    assert any(INPUT_NOTE in note for note in notes)


def test_what_a_scaler_made_of_the_input_is_the_embedding_of_neighbours(tmp_path: Path) -> None:
    notes: list[str] = []
    scaler = MinMaxScaler((-1, 3))
    model = export(tmp_path / "m.onnx", make_pipeline(scaler, KNeighborsClassifier(5)), TRUTH)
    bundle = init_bundle(model, tmp_path / "bundle", note=notes.append)
    np.testing.assert_allclose(Model(bundle, threads=1).predict(PIXELS)[1], scaler.transform(ROWS), atol=1e-5)
    assert not any(INPUT_NOTE in note for note in notes)


@pytest.mark.parametrize("first", [0, 1])
def test_classes_are_numbered_as_the_model_was_fitted(first: int, tmp_path: Path) -> None:
    model = export(tmp_path / "m.onnx", LogisticRegression(), TRUTH + first)
    assert init_bundle(model, tmp_path / "bundle").labels == tuple(str(first + index) for index in range(3))


def test_labels_of_a_file_precede_those_of_the_graph(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    model = export(tmp_path / "m.onnx", LogisticRegression(), CLASSES[TRUTH])
    assert init_bundle(model, tmp_path / "bundle", labels=tmp_path / "labels.txt").labels == ("a", "b", "c")
