"""Triton's own client against a live server: metadata, JSON and binary tensors, and the rows that they leave.

A successor in shadow sees the same tensors.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from tests.support.graphs import mlp
from tests.support.processes import answers, client_of, free_port, running
from tests.support.wait import until
from tidemark.inference.bundle import Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.session import Model

http = pytest.importorskip("tritonclient.http")

PIXELS = np.random.default_rng(3).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
RAW = PIXELS.transpose(0, 3, 1, 2).copy()


def make(tmp_path: Path, version: str) -> Bundle:
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat\nLöwe\n", encoding="utf-8")
    model = mlp(tmp_path / "mlp.onnx", image=("N", 3, 8, 8))
    return init_bundle(model, tmp_path / version, name="pets", version=version, labels=labels)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make(tmp_path, "3")


@pytest.fixture
def port(bundle: Bundle, tmp_path: Path, url: str) -> Iterator[int]:
    port = free_port()
    serve = ["serve", "--bundle", str(bundle.folder), "--shadow", str(make(tmp_path, "4").folder), "--port", str(port)]
    command = [sys.executable, "-m", "tidemark.cli", *serve]
    environment = os.environ | {"TIDEMARK_DATABASE_URL": url, "TIDEMARK_DATA_DIR": str(tmp_path / "data")}
    with running(command, tmp_path / "serve.log", environment), client_of(port) as client:
        until(lambda: answers(client, "/readyz"), f"the server, see {tmp_path}/serve.log")
        yield port


def test_triton_s_client_is_answered_and_logged(port: int, bundle: Bundle, url: str) -> None:
    client = http.InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("pets", "3")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    (described,) = client.get_model_metadata("pets")["inputs"]
    model = Model(bundle)
    expected = model.predict(PIXELS)[0]
    ids = []
    for datatype, values in (("FP32", model.prepared(PIXELS)), ("UINT8", RAW)):
        for sent_as_bytes in (True, False):
            for asked_as_bytes in (True, False):
                tensor = http.InferInput(described["name"], list(values.shape), datatype)
                tensor.set_data_from_numpy(values, binary_data=sent_as_bytes)
                outputs = [
                    http.InferRequestedOutput(name, binary_data=asked_as_bytes) for name in ("probabilities", "label")
                ]
                found = client.infer("pets", [tensor], model_version="3", outputs=outputs, request_id="42")
                np.testing.assert_allclose(found.as_numpy("probabilities"), expected, rtol=1e-3, atol=1e-5)
                texts = [
                    text.decode() if isinstance(text, bytes) else text for text in found.as_numpy("label").tolist()
                ]
                assert texts == [bundle.labels[row] for row in expected.argmax(axis=1)]
                assert found.get_response()["id"] == "42"
                ids += found.get_response()["parameters"]["ids"].split(",")
    with pytest.raises(http.InferenceServerException, match="no model dogs"):
        client.get_model_metadata("dogs")
    wrong = http.InferInput("image", [1, 3, 9, 9], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 3, 9, 9), np.float32))
    with pytest.raises(http.InferenceServerException, match="expected shape"):
        client.infer("pets", [wrong])
    client.close()
    assert len(ids) == 40
    engine = create_engine(url)

    def logged(version: str) -> dict[str, str | None]:
        query = text("SELECT p.id, tags FROM predictions p JOIN models m ON m.id = model_id WHERE version = :version")
        with engine.connect() as connection:
            rows = connection.execute(query, {"version": version}).all()
        return {str(row.id): row.tags.get("shadow_of") for row in rows}

    until(lambda: logged("3") == dict.fromkeys(ids), "40 rows in Postgres")
    until(lambda: set(logged("4").values()) == set(ids), "40 rows of the model in shadow")
    engine.dispose()
