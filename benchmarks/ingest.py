"""From spool to Postgres: rows a second, bytes a prediction, and how each query grows with what is logged.

Rows of the growth are made inside Postgres with short embeddings, over 30 days and 20 slices; rows that are forwarded
and weighed have 512 dimensions.
"""

import datetime as dt
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text
from uuid_utils import uuid7

from benchmarks.world import World
from tests.support.server import database_state
from tidemark.api.endpoints import drift
from tidemark.api.endpoints.drift_metrics import DriftCollector
from tidemark.commands.storage_report import build_storage_report
from tidemark.pages import routes
from tidemark.settings import Settings
from tidemark.spool.forwarder import ROWS, Forwarder
from tidemark.spool.spool import Spool
from tidemark.store import engine as engines
from tidemark.store import log, models, monitor_progress, predictions, references, schema, sizes
from tidemark.store.binary_copy import COPIED, copy_into, encoded_rows
from tidemark.store.logged import HALF, Logged, logged
from tidemark.store.raw_connection import raw

D, K, PROPERTIES = 512, 10, 8
FORWARDED = 50_000
BATCH = 25  # predictions at a time, as a busy server's
SLICES, DAYS = 20, 30
ROUNDS = 15
TODAY = dt.datetime.now(dt.UTC).date()
FILL = """
    INSERT INTO predictions (id, at, model_id, label, confidence, probabilities, embedding, writer_id, number)
    SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM moment) * 1000 AS bigint)), 12, '0') || '70008000'
            || lpad(to_hex(n), 12, '0') AS uuid), moment, :model, 0, .9, '\\x003c', '\\x003c003c003c003c', 1, n
    FROM (SELECT n, CAST(:day AS timestamptz) + n * interval '1 ms' AS moment
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) n) made
"""
SEGMENT = """
    INSERT INTO segments (model_id, last_position, first_position, first_number, writer_id, at_from, at_to)
    VALUES (:model, :last, :first, :first, 1, :day, CAST(:day AS timestamptz) + interval '1 day')
"""


def run(_world: World, rows: int = 100_000) -> None:
    """Print the pace of the forwarder, and the time of each query from 10⁵ to `rows` logged rows."""
    with _installation() as (engine, _, folder):
        _pace(engine, folder)
    with _installation() as (engine, _, folder):
        _growth(engine, folder, rows)


@contextmanager
def _installation() -> Iterator[tuple[Engine, str, Path]]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with engines.database(Settings(data_dir=folder)) as url:
            engine = engines.connect(url)
            schema.migrate(engine)
            with engine.begin() as connection:
                models.register(connection, "m", "1", "a" * 64, [str(label) for label in range(K)])
            yield engine, url, folder
            engine.dispose()


def _pace(engine: Engine, folder: Path) -> None:
    batches = _predictions(FORWARDED)
    spooled = _forward_from_spool(engine, folder, batches)
    with engine.begin() as connection:
        plain = f"CREATE TABLE plain AS SELECT {COPIED} FROM predictions LIMIT 0"
        connection.execute(text(plain))
        started = time.perf_counter()
        for first in range(0, FORWARDED, ROWS):
            rows = [encoded_rows(batch, 1, 1, 1) for batch in batches[first // BATCH : (first + ROWS) // BATCH]]
            copy_into("plain", raw(connection).cursor(), rows)
        bare = FORWARDED / (time.perf_counter() - started)
        connection.execute(text("DROP TABLE plain"))
    _analyse(engine)
    with engine.connect() as connection:
        report = build_storage_report(sizes.load_all(connection), DAYS, TODAY)
    print(f"d = {D}, k = {K}, {FORWARDED} predictions\n\n| | |\n|---|---|")
    print(f"| spool to Postgres, committed and forgotten | {spooled[0]:,.0f} rows/s |")
    print(f"| a bare COPY of the same rows into a table without indexes | {bare:,.0f} rows/s |")
    print(f"| of it the forwarder reaches | {spooled[0] / bare:.0%} |")
    print(f"| time on a processor in the forwarder, without Postgres | {spooled[1] * 1e6:.0f} µs a row |")
    print(f"| a prediction with its indexes | {report['bytes_per_prediction']:,} bytes |\n", flush=True)


def _growth(engine: Engine, folder: Path, rows: int) -> None:
    with engine.begin() as connection:
        predictions.ensure_partitions(raw(connection), [TODAY - dt.timedelta(days=n) for n in range(-1, DAYS)])
        references.save(connection, 1, {"embeddings": np.zeros((1, 4), HALF)})
        for number in range(SLICES):
            slice_of = {"name": f"camera={number}"}
            connection.execute(
                text("INSERT INTO streams (model_id, slice, reference_id) VALUES (1, :name, 1)"), slice_of
            )
    app = FastAPI()
    app.state.server = database_state(engine, Settings())
    for room in (drift, routes):
        app.include_router(room.router)
    client = TestClient(app)
    queries = ["monitor's read", "targets", "/drift", "/metrics", "/"]
    print("| logged rows | forwarder, rows/s | " + " | ".join(f"{query}, ms" for query in queries) + " |")
    print("|---" * (2 + len(queries)) + "|")
    logged = 0
    for size in [10**power for power in range(5, 12) if 10**power < rows] + [rows]:
        _fill(engine, logged, size)
        logged = size
        pace, _ = _forward_from_spool(engine, folder, _predictions(FORWARDED // 5))
        with engine.connect() as connection:
            after = logged - logged // DAYS // 2
            calls: list[Callable[[], Any]] = [
                partial(log.read, connection, 1, after, 500, 4, 1),
                partial(monitor_progress.targets, connection),
                lambda: client.get("/drift").raise_for_status(),
                lambda: list(DriftCollector(engine).collect()),
                lambda: client.get("/").raise_for_status(),
            ]
            times = " | ".join(f"{_shortest_seconds(call) * 1e3:.0f}" for call in calls)
        print(f"| {logged:,} | {pace:,.0f} | {times} |", flush=True)


def _fill(engine: Engine, first: int, last: int) -> None:
    """Log rows first..last over the days, oldest first; leave half of the newest day to the monitor."""
    each = (last - first) // DAYS
    for day in range(DAYS):
        with engine.begin() as connection:
            values: dict[str, Any] = {"day": TODAY - dt.timedelta(days=DAYS - 1 - day), "model": 1}
            values |= {"first": first + day * each + 1, "last": first + (day + 1) * each}
            for statement in (FILL, SEGMENT):
                connection.execute(text(statement), values)
            position = {"position": values["last"] - each // 2}
            connection.execute(text("UPDATE streams SET position = :position"), position)
    _analyse(engine)


def _forward_from_spool(engine: Engine, folder: Path, batches: list[Logged]) -> tuple[float, float]:
    """Forward predictions; return rows a second and seconds of processor time a row."""
    spool = Spool.create(folder / "spool")
    for batch in batches:
        spool.append(batch)
    forwarder = Forwarder(spool, engine)
    started, used = time.perf_counter(), _processor()
    forwarder.drain(spool)
    count = sum(map(len, batches))
    pace, cost = count / (time.perf_counter() - started), (_processor() - used) / count
    spool.close()
    return pace, cost


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _predictions(count: int) -> list[Logged]:
    """Return predictions in batches, each with a tag."""
    rng = np.random.default_rng(1)
    batches = []
    for first in range(0, count, BATCH):
        ids = b"".join(uuid7().bytes for _ in range(BATCH))
        tags = [b'{"camera":"%d"}' % ((first + number) % SLICES) for number in range(BATCH)]
        probabilities, embeddings = rng.dirichlet(np.ones(K), BATCH), rng.normal(size=(BATCH, D))
        batches.append(logged("m:1", ids, probabilities, embeddings, np.zeros((BATCH, PROPERTIES)), tags))
    return batches


def _analyse(engine: Engine) -> None:
    engine.dispose()  # sessions report their rows to Postgres when they end
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))  # else the fill is still being written while it is measured


def _shortest_seconds(call: Callable[[], Any]) -> float:
    """Return the seconds of the quickest of several rounds, which other programs disturb least."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)
