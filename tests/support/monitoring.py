"""A model with a reference on a real Postgres, and a monitor that processes its traffic."""

import datetime as dt
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike
from sqlalchemy import Engine, text

from tests.support.predictions import new_ids, write
from tests.support.worlds import Arrays, World
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.drift import Reference, StreamDetector
from tidemark.monitor.monitor import Monitor
from tidemark.monitor.prepared_reference import SEED
from tidemark.settings import Settings
from tidemark.store import alerts, feedback, models, references, streams, windows
from tidemark.store.alerts import AlertRow
from tidemark.store.engine import conninfo
from tidemark.store.logged import HALF, logged
from tidemark.store.windows import WindowRow

WORLD = World()
NAMES = ["a", "b", "c", "d", "e"]


def reference_arrays(reference: Reference) -> dict[str, np.ndarray]:
    """Return a reference as it is stored."""
    assert reference.labels is not None
    assert reference.properties is not None
    return {
        "embeddings": reference.embeddings.astype(HALF),
        "probabilities": reference.probabilities.astype(HALF),
        "labels": reference.labels,
        "properties": reference.properties,
        "class_names": np.array(NAMES),
        "property_names": np.array(reference.property_names),
    }


@cache
def calibration() -> dict[str, ArrayLike]:
    """Return the calibration of the reference that all installations have, made once."""
    reference = Reference.from_arrays(reference_arrays(WORLD.reference(1500, np.random.default_rng(0))))
    return StreamDetector(reference, seed=SEED).calibration()


class Installation:
    """A model with a reference, and hands to send it traffic and labels."""

    def __init__(self, engine: Engine, url: str, **settings: Any) -> None:
        self.engine, self.url = engine, url
        short = {"window_size": 200, "window_min_size": 50, "expected_run_time": 20_000, "window_interval": 0}
        self.settings = Settings(**short | settings)
        self.rng = np.random.default_rng(0)
        arrays = reference_arrays(WORLD.reference(1500, self.rng))
        with engine.begin() as connection:
            self.model_id = models.register(connection, "m", "1", "a" * 64, NAMES)
            thumbnails = dict.fromkeys(range(0, 1500, 10), b"a picture")
            reference_id = references.save(connection, self.model_id, arrays, thumbnails)
            references.save_calibration(connection, reference_id, calibration())
            self.stream_id = int(streams.load_all(connection)[0].id)

    def forget_calibrations(self) -> None:
        """Leave the references as they are right after they were stored."""
        with self.engine.begin() as connection:
            connection.execute(text('UPDATE "references" SET calibration = NULL'))

    def monitor(self) -> Monitor:
        alerts = Alerts(open_queue(conninfo(self.url)), (), "http://x")
        return Monitor(self.settings, self.engine, alerts, inline=True)

    def watch(self, monitor: Monitor | None = None) -> None:
        """Let a monitor process all that was logged; without one, a new one that ends afterwards."""
        if monitor is not None:
            monitor.settle()
            return
        monitor = self.monitor()
        monitor.settle()
        monitor.close()

    def expire_leases(self) -> None:
        """Let the leases of monitors that have died run out."""
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE streams SET lease_until = now() - interval '1 second'"))
            connection.execute(text("UPDATE monitors SET heartbeat_at = now() - interval '1 minute'"))

    def log(self, arrays: Arrays, tags: list[bytes] | None = None) -> list[UUID]:
        probabilities, embeddings, properties = (arrays[name] for name in ("probabilities", "embeddings", "properties"))
        batch = logged("m:1", new_ids(len(probabilities)), probabilities, embeddings, properties, tags)
        with self.engine.begin() as connection:
            write(connection, batch)
        return batch.uuids

    def send(self, n: int, monitor: Monitor | None = None, **change: Any) -> None:
        self.log(WORLD.traffic(n, self.rng, **change))
        self.watch(monitor)

    def label(self, ids: list[UUID], labels: np.ndarray) -> None:
        with self.engine.begin() as connection:
            predicted = feedback.find(connection, ids)
            rows = [predicted[key].labelled(key, int(label)) for key, label in zip(ids, labels, strict=True)]
            feedback.save(connection, rows)

    def logged_before(self, moment: dt.datetime) -> int:
        """Count the predictions whose time is before a moment."""
        with self.engine.connect() as connection:
            query = text("SELECT count(*) FROM predictions WHERE at < :moment")
            return int(connection.execute(query, {"moment": moment}).scalar_one())

    def alerts(self) -> list[AlertRow]:
        with self.engine.connect() as connection:
            return alerts.newest(connection)

    def windows(self) -> list[WindowRow]:
        with self.engine.connect() as connection:
            return windows.newest(connection, limit=1000)

    def stream(self) -> Any:
        with self.engine.connect() as connection:
            return streams.get(connection, self.stream_id)
