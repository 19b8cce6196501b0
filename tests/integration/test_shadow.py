"""Models in shadow: shown what the default model answered, logged as streams of their own, and no harm to it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from tests.support.graphs import mlp
from tests.support.images import images, png
from tests.support.open_inference import PIXELS, RAW, binary
from tests.support.server import state_of
from tests.support.wait import PATIENCE, until
from tidemark.errors import ConfigurationError
from tidemark.inference import images as decoding
from tidemark.inference.bundle import AnyBundle, Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model, ModelFailed
from tidemark.server.checks import check
from tidemark.server.serve_options import ServeOptions
from tidemark.serving import shadow as shadows

Serve = Callable[..., TestClient]
PNG = {"Content-Type": "image/png"}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Bundle]:
    def bundle(version: str = "4", image: tuple[Any, ...] = ("N", 3, 8, 8), preset: str = "imagenet") -> Bundle:
        labels = tmp_path / "labels.txt"
        model = mlp(tmp_path / f"{version}.onnx", image=image)
        return init_bundle(model, tmp_path / version, name="pets", version=version, labels=labels, preset=preset)

    return bundle


def rows(engine: Engine, version: str, count: int) -> list[Any]:
    query = text(
        "SELECT p.* FROM predictions p JOIN models m ON m.id = p.model_id WHERE m.version = :version ORDER BY p.number"
    )

    def stored() -> list[Any]:
        with engine.connect() as connection:
            return list(connection.execute(query, {"version": version}))

    until(lambda: len(stored()) >= count, f"{count} rows of pets:{version} in Postgres")
    return stored()


def dropped(client: TestClient, version: str = "4") -> float:
    name = f'tidemark_shadow_dropped_total{{model="pets",version="{version}"}} '
    return float(client.get("/metrics").text.partition(name)[2].partition("\n")[0])


def test_a_successor_sees_the_same_images_and_does_not_answer(
    serve: Serve, make: Callable[..., Bundle], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def counting(*arguments: Any) -> Any:
        decoded.append(1)
        return decoding.decode(*arguments)

    monkeypatch.setattr(shadows, "decode", counting)
    successor = make()
    client = serve(shadows=[successor])
    answer = client.post("/predict?tag=camera:7", json=images(2)).json()
    assert answer["model"] == {"name": "pets", "version": "3"}
    for body in (binary(RAW, "UINT8"), binary(Model(successor).prepared(PIXELS))):
        assert client.post("/v2/models/pets/infer", **body).json()["model_version"] == "3"
    of_default, others = rows(engine, "3", 12), rows(engine, "4", 12)
    assert [row.tags.pop("shadow_of") for row in others] == [str(row.id) for row in of_default]
    assert [row.tags for row in others] == [row.tags for row in of_default]
    assert [row.at for row in others] == [row.at for row in of_default]
    for one, other in zip(of_default, others, strict=True):  # the same network under another version
        assert (one.probabilities, one.embedding, one.properties) == (
            other.probabilities,
            other.embedding,
            other.properties,
        )
    assert decoded == []
    metrics = client.get("/metrics").text
    assert 'tidemark_confidence_count{model="pets",version="4"} 12.0' in metrics
    assert dropped(client) == 0
    says = "pets:4 runs in shadow"
    for refused in (client.post("/predict?model=pets:4", json=images(1)), client.get("/v2/models/pets/versions/4")):
        assert refused.status_code == 404
        assert says in refused.json()["detail"]
    assert client.get("/v2/models/pets").json()["versions"] == ["3"]


def test_another_input_is_decoded_again(serve: Serve, make: Callable[..., Bundle], engine: Engine) -> None:
    grey = make("5", image=("N", 1, 4, 6), preset="unit")
    client = serve(shadows=[grey])
    assert client.post("/predict", content=png(200), headers=PNG).status_code == 200
    assert (
        client.post("/v2/models/pets/infer", **binary(np.full((1, 3, 8, 8), 200, np.uint8), "UINT8")).status_code == 200
    )
    expected = Model(grey).predict(np.full((1, 4, 6), 200, np.uint8))
    for row in rows(engine, "5", 2):
        np.testing.assert_allclose(np.frombuffer(row.probabilities, "<f2"), expected[0][0], atol=1e-3)
        np.testing.assert_allclose(np.frombuffer(row.embedding, "<f2"), expected[1][0], atol=1e-2)


def test_a_refused_image_is_not_shown(serve: Serve, make: Callable[..., Bundle], engine: Engine) -> None:
    client = serve(make("9", preset="unit"), shadows=[make()])
    assert client.post("/predict", content=b"no image", headers=PNG).status_code == 400
    assert client.post("/predict?model=pets:9", content=png(), headers=PNG).status_code == 200  # not the default
    assert client.post("/predict", content=png(), headers=PNG).status_code == 200
    assert len(rows(engine, "4", 1)) == 1


def test_feedback_counts_for_the_shadow_too(serve: Serve, make: Callable[..., Bundle], engine: Engine) -> None:
    client = serve(shadows=[make()])
    row = client.post("/predict", content=png(), headers=PNG).json()["predictions"][0]
    rows(engine, "4", 1)
    fed = client.post("/feedback", json={"items": [{"id": row["id"], "label": "cat"}]})
    assert fed.json() == {"accepted": 1, "unknown": [], "rejected": []}
    (other,) = rows(engine, "4", 1)
    assert client.get(f"/predictions/{other.id}").json()["feedback"] == "cat"
    assert 'tidemark_feedback_total{model="pets",version="4"} 1.0' in client.get("/metrics").text


def test_a_failing_shadow_harms_nobody(
    serve: Serve, make: Callable[..., Bundle], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(shadows=[make()])
    network = state_of(client).models.shadows[0]._network
    run = network.run

    def fail(tensor: Any) -> Any:
        if len(tensor) > 1 or tensor.max() > 2:  # a batch, and bright images
            raise ModelFailed("too bright")
        return run(tensor)

    monkeypatch.setattr(network, "run", fail)
    for value in (7, 255, 7, 255):
        assert client.post("/predict", content=png(value), headers=PNG).status_code == 200
    assert len(rows(engine, "4", 2)) == 2
    monkeypatch.setattr(network, "run", lambda tensor: 1 / 0)
    assert client.post("/predict", content=png(), headers=PNG).status_code == 200
    state_of(client).models.shadows[0].close()
    assert dropped(client) == 3
    assert client.post("/predict", content=png(), headers=PNG).status_code == 200
    assert len(rows(engine, "3", 6)) == 6
    assert dropped(client) == 4


@pytest.mark.parametrize("bound", ["images", "bytes"])
def test_a_slow_shadow_drops_what_does_not_fit_and_drains_at_a_stop(
    serve: Serve, make: Callable[..., Bundle], engine: Engine, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    client = serve(shadows=[make()], queue_limit=4 if bound == "images" else 1024, max_batch=1)
    shadow, go = state_of(client).models.shadows[0], threading.Event()
    network = shadow._network
    run, running = network.run, threading.Event()

    def slow(tensor: Any) -> Any:
        running.set()
        assert go.wait(PATIENCE)
        return run(tensor)

    monkeypatch.setattr(network, "run", slow)
    assert client.post("/predict", content=png(), headers=PNG).status_code == 200
    assert running.wait(PATIENCE)  # one runs, four may wait
    assert client.post("/predict", content=png(), headers=PNG).status_code == 200
    if bound == "bytes":
        monkeypatch.setattr(shadows, "MAX_WAITING_BYTES", 4 * shadow._waiting[0].size)
    for _ in range(5):
        assert client.post("/predict", content=png(), headers=PNG).status_code == 200
    assert dropped(client) == 2
    assert len(rows(engine, "3", 7)) == 7
    go.set()
    client.__exit__(None)
    assert len(rows(engine, "4", 5)) == 5


def test_a_shadow_that_is_stuck_does_not_hold_up_a_stop(
    serve: Serve, make: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadows, "DRAIN_SECONDS", 0.1)
    client = serve(shadows=[make()], max_batch=1)
    stuck, running, metrics = threading.Event(), threading.Event(), state_of(client).models.shadows[0]._metrics

    def hang(_: Any) -> None:
        running.set()
        stuck.wait(PATIENCE)

    monkeypatch.setattr(state_of(client).models.shadows[0]._network, "run", hang)
    for _ in range(3):
        client.post("/predict", content=png(), headers=PNG)
    assert running.wait(PATIENCE)
    client.__exit__(None)
    assert metrics._shadow_dropped._value.get() == 2
    stuck.set()


def test_a_model_that_cannot_be_a_shadow_is_refused(
    url: str, serve: Serve, bundle: Bundle, observed: AnyBundle, make: Callable[..., Bundle]
) -> None:
    with pytest.raises(ConfigurationError, match=r"--shadow: .* are both pets:3; change a version"):
        check(ServeOptions((bundle.folder,), shadows=(make("3").folder,)), url)
    with pytest.raises(ConfigurationError, match="no --bundle has a model that answers"):
        check(ServeOptions((observed.folder,), shadows=(bundle.folder,)), url)
    with pytest.raises(ConfigurationError, match="no model answers here"):
        serve(observed, alone=True, shadows=[bundle])
