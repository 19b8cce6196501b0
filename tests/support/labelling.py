"""A stream whose predictions are labelled."""

from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.drifting import arrays
from tests.support.predictions import new_ids, write
from tidemark.inference.thumbnails import thumbnail
from tidemark.store import references, streams
from tidemark.store.logged import logged

CLASSES = ["ant", "bee", "cat", "Löwe"]
STREAM = "pets:3"
PICTURE = thumbnail(np.arange(64, dtype=np.uint8).reshape(8, 8))


class Desk:
    """A stream with a reference and logged predictions."""

    def __init__(self, client: TestClient, engine: Engine) -> None:
        self.client, self.engine = client, engine
        self.predicted: dict[str, str] = {}
        with engine.begin() as connection:
            stream = streams.find(connection, STREAM)
            assert stream is not None
            references.save(connection, stream.model_id, arrays(60))

    def log(self, count: int, pictures: bool = True) -> None:
        values = arrays(count)
        thumbnails = [PICTURE] * count if pictures else None
        batch = logged(STREAM, new_ids(count), values["probabilities"], values["embeddings"], thumbnails=thumbnails)
        with self.engine.begin() as connection:
            write(connection, batch)
        self.predicted |= {str(key): CLASSES[label] for key, label in zip(batch.uuids, batch.labels, strict=True)}

    def start(self, **body: Any) -> Any:
        return self.client.post("/labels/rounds", json={"stream": STREAM, **body})

    def next(self, **query: Any) -> Any:
        answer = self.client.get("/labels/next", params={"stream": STREAM, **query})
        assert answer.status_code == 200
        return answer.json()

    def label(self, *keys: str, right: bool = True) -> None:
        wrong = {name: CLASSES[place - 1] for place, name in enumerate(CLASSES)}
        items = [{"id": key, "label": self.predicted[key] if right else wrong[self.predicted[key]]} for key in keys]
        assert self.client.post("/feedback", json={"items": items}).json()["accepted"] == len(keys)
