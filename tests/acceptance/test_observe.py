"""A model that is served elsewhere, watched by a real Tidemark from its reference to its alarm."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.bundles import observed_bundle
from tests.support.inference_log import RESPONSE, URL
from tests.support.processes import answers, client_of, free_port, running
from tests.support.wait import until
from tests.support.worlds import Arrays, World
from tidemark.cli import app as cli

WORLD = World(k=3, d=8)
RNG = np.random.default_rng(4)


def send(client: httpx.Client, arrays: Arrays) -> list[str]:
    predictions = [
        {"probabilities": p.tolist(), "embedding": e.tolist()}
        for p, e in zip(arrays["probabilities"], arrays["embeddings"], strict=True)
    ]
    answer = client.post("/observe", json={"model": "far:1", "predictions": predictions}).raise_for_status()
    return list(answer.json()["ids"])


def send_event(client: httpx.Client, arrays: Arrays, number: int) -> None:
    """Send predictions as KServe's inference logger does."""
    outputs = [
        {"name": name, "datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()}
        for name, values in (("scores", arrays["probabilities"]), ("features", arrays["embeddings"]))
    ]
    now = np.datetime64("now", "ms")
    headers = {
        "ce-specversion": "1.0",
        "ce-id": f"event-{number}",
        "ce-type": RESPONSE,
        "ce-source": "http://localhost:9081/",
        "ce-time": f"{now}Z",
        "ce-inferenceservicename": "far",
    }
    client.post(URL, json={"model_name": "far", "outputs": outputs}, headers=headers).raise_for_status()


def stream(client: httpx.Client) -> dict[str, Any]:
    (row,) = client.get("/drift").raise_for_status().json()["streams"]
    return dict(row)


def test_drift_planted_in_the_embeddings_alarms(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = observed_bundle(tmp_path / "bundle", ("a", "b", "c"))
    labels = WORLD.labels(500, RNG)
    np.savez(tmp_path / "held_out.npz", **WORLD.see(labels, RNG), labels=labels)
    settings = {
        "TIDEMARK_DATABASE_URL": url,
        "TIDEMARK_DATA_DIR": str(tmp_path / "data"),
        "TIDEMARK_MONITOR_POLL": "0.2",
        "TIDEMARK_EXPECTED_RUN_TIME": "20000",
        "TIDEMARK_WINDOW_SIZE": "100",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # the power table takes time
    monkeypatch.setattr(
        "tidemark.commands.reference_power.power_table", lambda *_, **__: ()
    )  # the power table takes time
    build = ["reference", "build", "--bundle", str(bundle.folder), "--arrays", str(tmp_path / "held_out.npz"), "--json"]
    result = CliRunner().invoke(cli, build, catch_exceptions=False)
    assert json.loads(result.stdout)["rows"] == 500
    port = free_port()
    up = [sys.executable, "-m", "tidemark.cli", "up", "--bundle", str(bundle.folder), "--port", str(port)]
    with running(up, tmp_path / "up.log", os.environ), client_of(port) as client:
        until(lambda: answers(client, "/readyz"), f"Tidemark, see {tmp_path}/up.log")
        send(client, WORLD.traffic(200, RNG))
        for number in range(5):
            send_event(client, WORLD.traffic(20, RNG), number)
        until(lambda: stream(client)["predictions"] == 300, "the monitor to see 300 predictions")
        until(lambda: stream(client)["state"] == "calm", "the state to be written, which is done every few seconds")
        ids = send(client, WORLD.traffic(200, RNG, move=0.6))
        until(lambda: stream(client)["state"] == "drifting", "an alarm")
        assert stream(client)["kind"] == "covariate"
        (alert,) = client.get("/alerts").json()["alerts"]
        assert alert["state"] == "firing"
        fed = client.post("/feedback", json={"items": [{"id": ids[0], "label": "a"}]})
        assert fed.json() == {"accepted": 1, "unknown": [], "rejected": []}
