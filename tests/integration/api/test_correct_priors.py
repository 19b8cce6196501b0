"""Answers corrected for other class proportions, next to the model's own probabilities."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select

from tests.support.images import png
from tests.support.server import stored_prediction
from tidemark.drift.temperature_scaling import PriorCorrection
from tidemark.errors import ConfigurationError
from tidemark.inference.bundle import Bundle
from tidemark.inference.model import Model
from tidemark.remedy.label_shift.priors_file import CalibrationValues, ClassShare, Priors, corrections
from tidemark.server.checks import check
from tidemark.server.serve_options import ServeOptions
from tidemark.store.logged import HALF
from tidemark.store.tables import predictions

Serve = Callable[..., TestClient]
CORRECTION = PriorCorrection(0.8, np.array([0.1, 0.0, -0.1, 0.0]), np.array([0.02, 0.05, 2.0, 9.0]))
PNG = {"Content-Type": "image/png"}


@pytest.fixture
def corrected(serve: Serve) -> TestClient:
    return serve(corrections={"pets:3": CORRECTION})


def test_a_corrected_answer_includes_the_uncorrected_probabilities(corrected: TestClient, serve: Serve) -> None:
    [corrected_answer] = corrected.post("/predict", content=png(), headers=PNG).json()["predictions"]
    [plain] = serve().post("/predict", content=png(), headers=PNG).json()["predictions"]
    assert corrected_answer["raw"] == {name: plain[name] for name in ("label", "index", "confidence")}
    assert "raw" not in plain
    order = ["ant", "bee", "cat", "Löwe"]
    confidences = {entry["label"]: entry["confidence"] for entry in plain["top"]}
    expected = CORRECTION(np.array([[confidences[name] for name in order]], np.float32))[0]
    assert [entry["label"] for entry in corrected_answer["top"]] == [order[i] for i in np.argsort(-expected)]
    np.testing.assert_allclose(
        [entry["confidence"] for entry in corrected_answer["top"]], np.sort(expected)[::-1], rtol=1e-5
    )
    assert (corrected_answer["label"], corrected_answer["index"]) == (
        order[int(expected.argmax())],
        int(expected.argmax()),
    )
    assert corrected_answer["confidence"] == corrected_answer["top"][0]["confidence"]
    assert corrected_answer["label"] != plain["label"], "the correction is meant to change this answer"


def test_the_log_keeps_both_and_the_monitor_reads_the_raw(corrected: TestClient, engine: Engine) -> None:
    [answer] = corrected.post("/predict", content=png(), headers=PNG).json()["predictions"]
    stored = stored_prediction(corrected, answer["id"])
    assert stored.label == answer["raw"]["label"]
    assert stored.confidence == pytest.approx(answer["raw"]["confidence"])
    assert stored.corrected
    assert stored.corrected.label == answer["label"]
    assert stored.corrected.confidence == pytest.approx(answer["confidence"], abs=1e-3)
    with engine.connect() as connection:
        row = connection.execute(select(predictions)).one()
    raw, corrected_row = (np.frombuffer(data, HALF).astype(np.float32) for data in (row.probabilities, row.corrected))
    np.testing.assert_allclose(CORRECTION(raw[None])[0], corrected_row, atol=2e-3)
    assert row.label == raw.argmax()


def test_without_a_correction_the_answer_mentions_none(client: TestClient) -> None:
    [answer] = client.post("/predict", content=png(), headers=PNG).json()["predictions"]
    assert stored_prediction(client, answer["id"]).corrected is None
    assert {output["name"] for output in client.get("/v2/models/pets").json()["outputs"]} == {"probabilities", "label"}


def test_the_open_inference_protocol_answers_both(corrected: TestClient, bundle: Bundle) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    tensor = {"name": "image", "datatype": "UINT8", "shape": [3, 3, 8, 8], "data": pixels.ravel().tolist()}
    answer = corrected.post("/v2/models/pets/infer", json={"inputs": [tensor]}).json()
    outputs = {output["name"]: output for output in answer["outputs"]}
    raw = np.reshape(outputs["raw_probabilities"]["data"], (3, 4))
    probabilities, _ = Model(bundle).predict(pixels.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(raw, probabilities, rtol=1e-5)
    np.testing.assert_allclose(
        np.reshape(outputs["probabilities"]["data"], (3, 4)), CORRECTION(probabilities), rtol=1e-4
    )
    assert outputs["label"]["data"] == [bundle.labels[i] for i in CORRECTION(probabilities).argmax(axis=1)]
    assert outputs["raw_label"]["data"] == [bundle.labels[i] for i in probabilities.argmax(axis=1)]
    described = corrected.get("/v2/models/pets").json()["outputs"]
    assert [(output["name"], output["shape"]) for output in described] == [
        ("probabilities", [-1, 4]), ("label", [-1]), ("raw_probabilities", [-1, 4]), ("raw_label", [-1])
    ]  # fmt: skip


def priors(bundle: Bundle, **changes: Any) -> Priors:
    classes = tuple(
        ClassShare(label=name, reference=0.25, estimated=0.25 * weight, low=0.1, high=0.9, weight=weight)
        for name, weight in zip(bundle.labels, (0.5, 0.5, 1.0, 2.0), strict=True)
    )
    calibration = CalibrationValues(slope=0.9, bias=(0.0, 0.1, 0.0, 0.0))
    priors_file = Priors(model="pets:3", sha256=bundle.sha256, classes=classes, calibration=calibration)
    return priors_file.model_copy(update=changes)


def test_a_file_is_read_as_it_was_written(bundle: Bundle, tmp_path: Path) -> None:
    [(name, correction)] = corrections([priors(bundle).write(tmp_path)], [bundle]).items()
    assert name == "pets:3"
    assert (correction.slope, correction.bias.tolist()) == (0.9, [0.0, 0.1, 0.0, 0.0])
    assert correction.weights.tolist() == [0.5, 0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "pets:4"}, "is for pets:4; served are pets:3"),
        ({"sha256": "0" * 64}, "another model file"),
        ({"classes": ()}, "bias must have a value a class"),
        ({"calibration": {"slope": 0, "bias": []}}, "calibration.slope"),
    ],
)
def test_a_file_of_another_model_is_refused(bundle: Bundle, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = tmp_path / "priors.json"
    path.write_text(json.dumps(priors(bundle).model_dump() | changes))
    with pytest.raises(ConfigurationError, match=says):
        corrections([path], [bundle])


def test_what_is_no_file_of_priors_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no json")
    with pytest.raises(ConfigurationError, match="text: Invalid JSON"):
        corrections([tmp_path / "text"], [bundle])
    with pytest.raises(ConfigurationError, match="cannot read"):
        corrections([tmp_path / "missing"], [bundle])
    path = priors(bundle).write(tmp_path)
    with pytest.raises(ConfigurationError, match="second file for pets:3"):
        corrections([path, path], [bundle])


def test_a_file_of_another_model_is_refused_before_anything_is_served(bundle: Bundle, url: str, tmp_path: Path) -> None:
    check(ServeOptions((bundle.folder,), priors=(priors(bundle).write(tmp_path),)), url)
    other = priors(bundle, sha256="0" * 64).write(tmp_path)
    with pytest.raises(ConfigurationError, match="another model file"):
        check(ServeOptions((bundle.folder,), priors=(other,)), url)
