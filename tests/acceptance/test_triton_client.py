"""Triton's own client against a live server: metadata, JSON and binary tensors, and the rows that they leave.

A successor in shadow sees the same tensors.
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from tests.support.graphs import mlp
from tests.support.processes import answers, client_of, free_port, running
from tests.support.wait import until
from tidemark.inference.bundle import Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model

http = pytest.importorskip("tritonclient.http")
triton_grpc = pytest.importorskip("tritonclient.grpc")

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
        for binary_input in (True, False):
            for binary_output in (True, False):
                tensor = http.InferInput(described["name"], list(values.shape), datatype)
                tensor.set_data_from_numpy(values, binary_data=binary_input)
                outputs = [
                    http.InferRequestedOutput(name, binary_data=binary_output) for name in ("probabilities", "label")
                ]
                result = client.infer("pets", [tensor], model_version="3", outputs=outputs, request_id="42")
                np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=1e-3, atol=1e-5)
                texts = [
                    text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("label").tolist()
                ]
                assert texts == [bundle.labels[row] for row in expected.argmax(axis=1)]
                assert result.get_response()["id"] == "42"
                ids += result.get_response()["parameters"]["ids"].split(",")
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


def test_several_workers_answer_over_grpc_on_one_port(bundle: Bundle, tmp_path: Path, url: str) -> None:
    port, grpc_port = free_port(), free_port()
    options = ["--bundle", str(bundle.folder), "--port", str(port), "--grpc-port", str(grpc_port), "--workers", "2"]
    command = [sys.executable, "-m", "tidemark.cli", "serve", *options]
    environment = os.environ | {"TIDEMARK_DATABASE_URL": url, "TIDEMARK_DATA_DIR": str(tmp_path / "data")}
    expected = Model(bundle).predict(PIXELS)[0]
    ids: set[str] = set()
    with (
        running(command, tmp_path / "serve.log", environment),
        client_of(port) as client,
        contextlib.ExitStack() as stack,
    ):
        until(lambda: answers(client, "/readyz"), f"the server, see {tmp_path}/serve.log")
        for number in range(8):
            # Each client has a connection of its own, unless its options equal another's.
            arguments = [("grpc.primary_user_agent", f"test-{number}")]
            connected = stack.enter_context(
                triton_grpc.InferenceServerClient(f"127.0.0.1:{grpc_port}", channel_args=arguments)
            )
            until(partial(grpc_is_ready, connected), "the server's port for gRPC")
            tensor = triton_grpc.InferInput("image", list(RAW.shape), "UINT8")
            tensor.set_data_from_numpy(RAW)
            result = connected.infer("pets", [tensor])
            np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=1e-3, atol=1e-5)
            ids |= set(result.get_response().parameters["ids"].string_param.split(","))
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in process.stderr
    assert len(ids) == 40


def grpc_is_ready(client: Any) -> bool:
    try:
        return bool(client.is_server_ready())
    except triton_grpc.InferenceServerException:
        return False


def test_a_port_for_grpc_that_is_in_use_is_an_error(bundle: Bundle, tmp_path: Path, url: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        options = ["--bundle", str(bundle.folder), "--port", str(free_port())]
        command = [sys.executable, "-m", "tidemark.cli", "serve", *options]
        environment = os.environ | {
            "TIDEMARK_DATABASE_URL": url,
            "TIDEMARK_DATA_DIR": str(tmp_path / "data"),
            "TIDEMARK_GRPC_PORT": str(port),
        }
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 2
    assert process.stderr.splitlines() == [
        f"tidemark: cannot listen on 127.0.0.1:{port}: Address already in use; try another --grpc-port"
    ]
