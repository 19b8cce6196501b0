"""Several models with one reference and traffic of their own, which monitors share."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine

from tests.support.monitoring import NAMES, WORLD, Installation, calibration
from tests.support.predictions import new_ids, write
from tidemark.store import models, references, streams, watch_status
from tidemark.store.logged import logged

OTHERS = ("b", "c")  # models next to `m`, the one of every installation


class Fleet(Installation):
    """Three models, or more, that share a reference's traffic."""

    def __init__(self, engine: Engine, url: str, others: Sequence[str] = OTHERS) -> None:
        super().__init__(engine, url)
        with engine.begin() as connection:
            arrays = references.load(connection, 1)
            for name in others:
                model_id = models.register(connection, name, "1", "a" * 64, NAMES)
                references.save_calibration(connection, references.save(connection, model_id, arrays), calibration())

    def send_to(self, name: str, n: int, **change: Any) -> None:
        arrays = WORLD.traffic(n, self.rng, **change)
        batch = logged(f"{name}:1", new_ids(n), arrays["probabilities"], arrays["embeddings"], arrays["properties"])
        with self.engine.begin() as connection:
            write(connection, batch)

    def positions(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            return {row.model_name: row.seen for row in streams.load_all(connection)}

    def watching(self) -> dict[str, str | None]:
        with self.engine.connect() as connection:
            names = {row.model_id: row.model_name for row in streams.load_all(connection)}
            return {names[key]: watch.reason for key, watch in watch_status.of_models(connection).items()}
