"""Predictions of a model that is served elsewhere."""

import time

import numpy as np
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.predictions import logged_predictions
from tidemark.store import models
from tidemark.store.log_batch import PredictionBatch

RNG = np.random.default_rng(5)
P = RNG.dirichlet([1, 1, 1], 5).astype(np.float32)
E = RNG.normal(size=(5, 4)).astype(np.float32)


def logged(engine: Engine, count: int, name: str = "far") -> PredictionBatch:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with engine.connect() as connection:
            row = models.find(connection, name, "1")
            batch = logged_predictions(connection, row.id)
        if batch is not None and len(batch) >= count:
            return batch
        time.sleep(0.05)
    raise AssertionError(f"{count} rows are not in Postgres after 10 s")


def counted(client: TestClient, model: str = "far") -> float:
    lines = client.get("/metrics").text.splitlines()
    own = [line for line in lines if line.startswith("tidemark_predictions_total{") and f'model="{model}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in own)
