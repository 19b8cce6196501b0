"""An installation with synthetic predictions for the benchmarks of the monitor, and what it has cost so far."""

import datetime as dt
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psutil
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, text
from uuid_utils import uuid7

from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.monitor.monitor import Monitor
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store import log_writer, models, predictions, references, schema
from tidemark.store.log_writer import NumberedBatch
from tidemark.store.logged import HALF, Logged, logged
from tidemark.store.raw_connection import raw

SLICES = 20  # values of a tag, unless a benchmark names another number


@dataclass(frozen=True)
class Shape:
    """A kind of traffic to be processed."""

    name: str
    size: int  # numbers of an embedding
    classes: int
    rows: int
    tags: tuple[str, ...] = ()


@contextmanager
def installation() -> Iterator[tuple[Engine, str]]:
    """Run an embedded Postgres with an empty schema; yield its engine and URL."""
    with tempfile.TemporaryDirectory() as scratch, engines.database(Settings(data_dir=Path(scratch))) as url:
        engine = engines.connect(url)
        schema.migrate(engine)
        yield engine, url
        engine.dispose()


def register_model(engine: Engine, name: str, shape: Shape, rng: np.random.Generator) -> int:
    """Store a model, a synthetic reference and the partitions of today and tomorrow; return the model's id."""
    arrays: dict[str, NDArray[Any]] = {
        "embeddings": rng.normal(size=(2000, shape.size)).astype(HALF),
        "probabilities": rng.dirichlet(np.ones(shape.classes), 2000).astype(HALF),
        "labels": rng.integers(0, shape.classes, 2000),
    }
    with engine.begin() as connection:
        labels = [str(label) for label in range(shape.classes)]
        model_id = models.register(connection, name, "1", "a" * 64, labels)
        references.save(connection, model_id, arrays)
        predictions.ensure_partitions(
            raw(connection), [dt.datetime.now(dt.UTC).date() + dt.timedelta(days=n) for n in range(2)]
        )
    return model_id


def synthetic_predictions(
    shape: Shape, count: int, rng: np.random.Generator, values: int = SLICES, model: str = "m:1"
) -> Logged:
    """Return predictions drawn independently; with tags, camera takes `values` values in turn."""
    ids = b"".join(uuid7().bytes for _ in range(count))
    tags = [b'{"camera":"%d"}' % (number % values) for number in range(count)] if shape.tags else None
    probabilities = rng.dirichlet(np.ones(shape.classes), count)
    return logged(model, ids, probabilities, rng.normal(size=(count, shape.size)), None, tags)


def log_predictions(engine: Engine, spool: UUID, model: str, first: int, batch: Logged) -> None:
    """Write predictions to the log as a forwarder does; `first` of them came from this spool before."""
    with engine.begin() as connection:
        log_writer.write(raw(connection), spool, [NumberedBatch(1 + first, batch)], models.ids(connection))


def monitor_of(engine: Engine, url: str, shape: Shape, **settings: Any) -> Monitor:
    """Return a monitor that tests windows within its turns, so that their cost is measured too."""
    defaults: dict[str, Any] = {"slice_tags": shape.tags, "expected_run_time": 10_000_000, "monitor_poll": 0.001}
    alerts = Alerts(open_queue(engines.conninfo(url)), (), "")
    return Monitor(Settings(**defaults | settings), engine, alerts, inline=True)


def processed_count(connection: Connection, model_id: int) -> int:
    """Return how many predictions the monitor has processed of the whole model's stream."""
    query = text("SELECT seen FROM streams WHERE model_id = :model AND slice = ''")
    return int(connection.execute(query, {"model": model_id}).scalar_one())


def processor_seconds(engine: Engine) -> float:
    """Return the seconds of processor time that this process and the sessions of Postgres have taken."""
    with engine.connect() as connection:
        pids = list(connection.execute(text("SELECT pid FROM pg_stat_activity WHERE state IS NOT NULL")).scalars())
    seconds = time.process_time()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            seconds += times.user + times.system
    return seconds


def wal_position(engine: Engine) -> int:
    """Return the bytes of write-ahead log since the start of the server."""
    with engine.connect() as connection:
        query = text("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
        return int(connection.execute(query).scalar_one())
