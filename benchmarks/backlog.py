"""A backlog for a monitor: predictions of a model that are in Postgres before the monitor starts."""

import time
from pathlib import Path

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from tidemark.inference import bundle as bundles
from tidemark.inference.images import DecodedImage
from tidemark.inference.model import Model
from tidemark.inference.predictions import predict_images
from tidemark.inference.properties import measure
from tidemark.settings import Settings
from tidemark.spool.forwarder import Forwarder
from tidemark.spool.spool import Spool
from tidemark.store import engine as engines
from tidemark.store import models
from tidemark.store.logged import logged
from tidemark.store.prediction_id import id_at

PREDICTIONS = 2_000_000  # more than a monitor processes while it is measured: half a minute at 60,000 a second
SPAN = 48 * 3600 * 1000  # milliseconds before now in which they were made, evenly
BATCH = 1_000  # predictions of one row of the spool


def log_backlog(data: Path, bundle_folder: Path, images: np.ndarray, count: int = PREDICTIONS) -> None:
    """Log predictions of images like the reference's, drawn at random with a fixed seed, into an installation."""
    bundle = bundles.load(bundle_folder)
    pixels = [DecodedImage(image, *bundle.input.size[::-1]) for image in images]
    predictions = predict_images(Model(bundle), pixels, 256, lambda _stage, _value: None)
    properties = measure(*predictions.image_arrays)
    rng = np.random.default_rng(0)
    settings = Settings(data_dir=data)
    name = f"{bundle.name}:{bundle.version}"
    now = time.time_ns() // 1_000_000
    with engines.database(settings) as url:
        engine = engines.connect(url)
        with engine.begin() as connection:
            models.register(connection, bundle.name, bundle.version, bundle.sha256, list(bundle.labels))
        spool = Spool.create(data / "spool", max_bytes=10**12)
        forwarder = Forwarder(spool, engine)
        for first in range(0, count, BATCH):
            drawn = rng.integers(0, len(predictions), BATCH)
            noise = rng.bytes(10 * BATCH)
            ids = [
                id_at(now - SPAN + SPAN * (first + row) // count, noise[10 * row : 10 * row + 10]).bytes
                for row in range(BATCH)
            ]
            spool.append(
                logged(
                    name,
                    b"".join(ids),
                    predictions.probabilities[drawn],
                    predictions.embeddings[drawn],
                    properties[drawn],
                )
            )
            if first % (100 * BATCH) == 0:
                forwarder.drain(spool)
        forwarder.drain(spool)
        spool.close()
        engine.dispose()


def remaining(server: str) -> int:
    """Return how many predictions the monitor of a server at a URL still has to process."""
    families = text_string_to_metric_families(httpx.get(f"{server}/metrics", timeout=30).text)
    samples = (sample for family in families for sample in family.samples)
    return int(sum(sample.value for sample in samples if sample.name == "tidemark_monitor_lag_predictions"))
