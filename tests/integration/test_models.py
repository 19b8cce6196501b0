"""Several models on one server: found by name and version, each with its own rows and metrics."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.support.graphs import mlp
from tests.support.images import png
from tidemark.errors import ConfigurationError
from tidemark.inference.bundle import Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.server.checks import check
from tidemark.server.serve_options import ServeOptions

Serve = Callable[..., TestClient]
PNG = {"Content-Type": "image/png"}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str, str], Bundle]:
    def bundle(name: str, version: str) -> Bundle:
        model = mlp(tmp_path / f"{name}-{version}.onnx", image=("N", 3, 8, 8))
        return init_bundle(model, tmp_path / f"{name}-{version}", name=name, version=version, preset="unit")

    return bundle


def test_models_are_found_by_name_and_version(serve: Serve, make: Callable[[str, str], Bundle]) -> None:
    client = serve(make("plants", "1"), make("plants", "2"))
    for query, expected in (("", "pets:3"), ("?model=pets", "pets:3"), ("?model=plants", "plants:1")):
        model = client.post(f"/predict{query}", content=png(), headers=PNG).json()["model"]
        assert f"{model['name']}:{model['version']}" == expected
    answer = client.post("/predict?model=plants:2", content=png(), headers=PNG)
    assert answer.json()["model"] == {"name": "plants", "version": "2"}
    unknown = client.post("/predict?model=plants:9", content=png(), headers=PNG)
    assert unknown.status_code == 404
    assert unknown.json()["detail"] == "no model plants:9, this server has pets:3, plants:1, plants:2"
    text = client.get("/metrics").text
    assert 'tidemark_predict_requests_total{model="plants",status="200",version="2"} 1.0' in text
    assert client.get("/readyz").json()["models"] == ["pets:3", "plants:1", "plants:2"]


def test_an_adapted_version_is_found_whether_its_plus_was_escaped_or_not(
    serve: Serve, make: Callable[[str, str], Bundle]
) -> None:
    client = serve(make("plants", "1"), make("plants", "1+adapted"))
    for written in ("1+adapted", "1%2Badapted"):
        answer = client.post(f"/predict?model=plants:{written}", content=png(), headers=PNG)
        assert answer.json()["model"]["version"] == "1+adapted"
        assert client.get(f"/v2/models/plants/versions/{written}").status_code == 200


def test_the_open_inference_protocol_finds_them_too(serve: Serve, make: Callable[[str, str], Bundle]) -> None:
    client = serve(make("plants", "1"), make("plants", "2"))
    assert client.get("/v2/models/plants").json()["versions"] == ["1", "2"]
    assert client.get("/v2/models/plants/versions/9").status_code == 404
    row = {"name": "image", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": [0.5] * 192}
    answer = client.post("/v2/models/plants/versions/2/infer", json={"inputs": [row]}).json()
    assert (answer["model_name"], answer["model_version"]) == ("plants", "2")


def test_feedback_reaches_a_model_that_is_not_the_default(serve: Serve, make: Callable[[str, str], Bundle]) -> None:
    client = serve(make("plants", "1"))
    row = client.post("/predict?model=plants", content=png(), headers=PNG).json()["predictions"][0]
    answer = client.post("/feedback", json={"items": [{"id": row["id"], "label": row["label"]}]})
    assert answer.json() == {"accepted": 1, "unknown": [], "rejected": []}
    text = client.get("/metrics").text
    assert 'tidemark_feedback_total{model="plants",version="1"} 1.0' in text
    assert 'tidemark_feedback_total{model="pets",version="3"} 0.0' in text


def test_the_same_model_twice_is_an_error(url: str, make: Callable[[str, str], Bundle]) -> None:
    folder = make("plants", "1").folder
    with pytest.raises(ConfigurationError, match="both plants:1"):
        check(ServeOptions((folder, folder)), url)
