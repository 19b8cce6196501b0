"""Predictions of a model that is served elsewhere."""

import numpy as np
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.predictions import await_logged
from tidemark.store import models
from tidemark.store.log_batch import PredictionBatch

RNG = np.random.default_rng(5)
P = RNG.dirichlet([1, 1, 1], 5).astype(np.float32)
E = RNG.normal(size=(5, 4)).astype(np.float32)


def logged(engine: Engine, count: int, name: str = "far") -> PredictionBatch:
    """Wait until so many predictions of a model are in Postgres; return them."""
    with engine.connect() as connection:
        row = models.find(connection, name, "1")
    return await_logged(engine, row.id, count)


def counted(client: TestClient, model: str = "far") -> float:
    lines = client.get("/metrics").text.splitlines()
    counters = [line for line in lines if line.startswith("tidemark_predictions_total{") and f'model="{model}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in counters)
