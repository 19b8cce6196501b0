"""A server with a model that drifts."""

import datetime as dt
import hashlib
from typing import Any
from uuid import UUID

import numpy as np
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.predictions import new_ids, write
from tidemark.alerts.alert_draft import AlertDraft
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.store import references, streams
from tidemark.store.engine import conninfo
from tidemark.store.logged import logged
from tidemark.store.report_json import WindowReportJson

REPORT: WindowReportJson = {
    "size": 500,
    "p_value": 0.001,
    "drifted": True,
    "kind": "covariate",
    "summary": "Images are darker than in training",
}
KEYS = {"admin": "an admin's key", "read": "a reader's key"}
SETTING = ",".join(f"{scope}:{hashlib.sha256(key.encode()).hexdigest()}" for scope, key in KEYS.items())


class Drifting:
    """A server whose stream pets:3 has a reference, logged traffic and an alert that fires."""

    def __init__(self, client: TestClient, engine: Engine, url: str) -> None:
        self.client, self.engine = client, engine
        self.started = dt.datetime.now(dt.UTC)
        self.alerts = Alerts(open_queue(conninfo(url)), [], "http://tidemark.example")
        with engine.begin() as connection:
            stream = streams.find(connection, "pets:3")
            assert stream is not None
            self.reference_id = references.save(connection, stream.model_id, arrays(50))
            self.stream_id = stream.id
        self.alert_id = self.fire("covariate")

    def fire(self, kind: str) -> UUID:
        draft = AlertDraft(self.stream_id, self.started, kind, self.started, 7, {**REPORT, "kind": kind})
        with self.engine.begin() as connection:
            return self.alerts.fire(connection, draft)

    def log(self, count: int) -> None:
        values = arrays(count)
        with self.engine.begin() as connection:
            write(connection, logged("pets:3", new_ids(count), values["probabilities"], values["embeddings"], None))

    def post(self, action: str, body: Any = None, **options: Any) -> Any:
        return self.client.post(f"/alerts/{self.alert_id}/{action}", json=body, **options)

    def streams(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.client.get("/drift").json()["streams"]
        return rows

    def stream(self) -> dict[str, Any]:
        return self.streams()[0]


def arrays(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(count)
    probabilities = rng.dirichlet(np.ones(4), count).astype(np.float32)
    return {"embeddings": rng.normal(size=(count, 6)).astype(np.float32), "probabilities": probabilities}
