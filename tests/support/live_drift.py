"""A live Tidemark that goes into drift, and a Prometheus that watches it as the shipped files say."""

import math
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from tests.support.images import base64_png
from tests.support.processes import answers, client_of, free_port, running
from tests.support.shipped_queries import PROMETHEUS
from tests.support.wait import until
from tidemark.commands.reference import reference_arrays, store
from tidemark.demo.installation import MODEL
from tidemark.demo.scans import halves, scan
from tidemark.demo.stages import Kind, Traffic
from tidemark.drift import Reference
from tidemark.inference import bundle as bundles
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.labelled_images import LabelledImages

BATCH = 25
CALM, DRIFTED = 400, 400  # predictions
REFERENCE_ROWS = 1500
QUEUE_LIMIT = 40  # images; two batches at once do not fit
NO_RECEIVER = "http://127.0.0.1:9/"  # the discard port: deliveries stay pending


@contextmanager
def tidemark(folder: Path) -> Iterator[httpx.Client]:
    """Run `tidemark up` on the demo's classifier; TIDEMARK_DATABASE_URL names the database."""
    _, held_out = halves()
    bundle = folder / "bundle"
    init_bundle(MODEL, bundle, name="digits")
    rng = np.random.default_rng(1)
    rows = rng.integers(0, len(held_out.labels), REFERENCE_ROWS)
    np.savez(folder / "held_out.npz", images=scan(held_out.images[rows], rng), labels=held_out.labels[rows])
    build_reference(bundle, folder / "held_out.npz")
    port = free_port()
    settings = {
        "TIDEMARK_DATA_DIR": str(folder / "data"),
        "TIDEMARK_MONITOR_POLL": "0.2",
        "TIDEMARK_QUEUE_LIMIT": str(QUEUE_LIMIT),
        "TIDEMARK_SLICE_TAGS": "camera",
        "TIDEMARK_WEBHOOK_URLS": NO_RECEIVER,
        "TIDEMARK_WINDOW_SIZE": "200",
    }
    command = [sys.executable, "-m", "tidemark.cli", "up", "--bundle", str(bundle), "--port", str(port)]
    with running(command, folder / "tidemark.log", os.environ | settings), client_of(port) as client:
        until(lambda: answers(client, "/readyz"), f"Tidemark, see {folder}/tidemark.log")
        yield client


def build_reference(folder: Path, images: Path) -> None:
    """Store the reference as `tidemark reference build` does, without its table of what it can see."""
    bundle = bundles.load(folder)
    arrays = reference_arrays(bundle, LabelledImages(bundle, images, None))
    columns: list[Any] = [arrays[name] for name in ("embeddings", "probabilities", "labels", "properties")]
    store(bundle, arrays, Reference(*columns))


def drift(client: httpx.Client) -> None:
    """Send calm and then drifted scans with their labels."""
    _, held_out = halves()
    traffic = Traffic(held_out, np.random.default_rng(2))
    for _ in range(CALM // BATCH):
        send(client, traffic, "none")
    for _ in range(DRIFTED // BATCH):
        send(client, traffic, "covariate")


def acknowledge(client: httpx.Client) -> None:
    """Take care of everything that fires."""
    for alert in client.get("/alerts").raise_for_status().json()["alerts"]:
        client.post(f"/alerts/{alert['id']}/acknowledge", json={"note": "seen"}).raise_for_status()


def strain(client: httpx.Client) -> None:
    """Send an image and labels that cannot be read, and more images than fit into the queue."""
    _, held_out = halves()
    traffic = Traffic(held_out, np.random.default_rng(3))
    assert client.post("/predict", content=b"no image", headers={"content-type": "image/png"}).status_code == 400
    assert client.post("/feedback", content=b"no JSON").status_code == 400
    with ThreadPoolExecutor(8) as pool:
        until(lambda: 503 in pool.map(lambda _: crowd(client, traffic), range(8)), "a full queue")


def send(client: httpx.Client, traffic: Traffic, kind: Kind) -> None:
    images, labels = traffic.draw(kind, BATCH)
    body = {"images": [base64_png(image) for image in images], "tags": {"camera": "7"}}
    answer = client.post("/predict", json=body).raise_for_status()
    ids = [prediction["id"] for prediction in answer.json()["predictions"]]
    items = [{"id": key, "label": str(label)} for key, label in zip(ids, labels, strict=True)]
    client.post("/feedback", json={"items": items}).raise_for_status()


def crowd(client: httpx.Client, traffic: Traffic) -> int:
    images, _ = traffic.draw("covariate", BATCH)
    return client.post("/predict", json={"images": [base64_png(image) for image in images]}).status_code


@contextmanager
def prometheus(target: int, folder: Path) -> Iterator[httpx.Client]:
    """Start Prometheus as it is shipped, but looking every second at one port of this machine."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
    del config["alerting"]
    (scrape,) = config["scrape_configs"]
    del scrape["dns_sd_configs"]
    scrape["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/metrics",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, folder / "prometheus.log", os.environ), client_of(port) as client:
        until(lambda: answers(client, "/-/ready"), f"Prometheus, see {folder}/prometheus.log")
        await_data(client, "up == 1")
        yield client


def query_values(client: httpx.Client, query: str) -> list[float]:
    """Return the values that a query gives now, those that are no number left out."""
    answer = client.get("/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", f"{query}: {answer['error']}"
    values = [float(sample["value"][1]) for sample in answer["data"]["result"]]
    return [value for value in values if math.isfinite(value)]


def await_data(client: httpx.Client, query: str) -> None:
    until(lambda: query_values(client, query), query)
