"""What a monitor processes, and what it costs at rest: predictions a second, the share of each stage, WAL, memory, and
the time of `/metrics` and `/drift` with many streams.

Times are of the processor, of this process and of Postgres, so that a busy machine does not change them much. Window
tests are left out of the pace: they run apart from the detector, within a quarter of a core.
"""

import cProfile
import datetime as dt
import os
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Connection, Engine, text
from uuid_utils import uuid7

from benchmarks.world import World
from tests.support.server import database_state
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.api.endpoints import drift
from tidemark.api.endpoints.drift_metrics import DriftCollector
from tidemark.api.endpoints.metrics import drift_exposition
from tidemark.monitor.monitor import Monitor
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store import log_writer, models, predictions, references, schema, watch
from tidemark.store.log_writer import NumberedBatch
from tidemark.store.logged import HALF, Logged, logged

BATCH = 500  # predictions that are logged at a time
SLICES = 20
STREAMS = 300
REST = 120  # predictions that are sent one by one
FLEET, FLEET_SECONDS = 50, 30  # models with one prediction a second each, and how long they are watched
STAGES = {
    "read": ("log.py", "read"),
    "score": ("rows_by_stream.py", "_score"),
    "detector": ("stream.py", "update_scored"),
    "write": ("model_processor.py", "_write"),
}


@dataclass(frozen=True)
class Shape:
    """A kind of traffic to be processed."""

    name: str
    size: int  # of an embedding
    classes: int
    rows: int
    tags: tuple[str, ...] = ()


SHAPES = (
    Shape("d = 512, k = 10", 512, 10, 60_000),
    Shape("d = 512, k = 10, 20 slices of one tag", 512, 10, 40_000, ("camera",)),
    Shape("d = 2048, k = 1000", 2048, 1000, 8_000),
)


def run(_: World) -> None:
    """Print the pace of a monitor, its cost at rest, and the time of what reads its results."""
    print("| one model | predictions/s | " + " | ".join(STAGES) + " | rest |")
    print("|---" * (3 + len(STAGES)) + "|")
    for shape in SHAPES:
        with _installation() as (engine, url):
            _pace(engine, url, shape)
    print()
    with _installation() as (engine, url):
        _rest(engine, url)
    with _installation() as (engine, url):
        _fleet(engine, url, "models", [f"m{number}" for number in range(FLEET)], ())
    with _installation() as (engine, url):
        _fleet(engine, url, "slices of one model", ["m"] * FLEET, ("camera",))
    with _installation() as (engine, url):
        _many_streams(engine, url)


@contextmanager
def _installation() -> Iterator[tuple[Engine, str]]:
    with tempfile.TemporaryDirectory() as scratch, engines.database(Settings(data_dir=Path(scratch))) as url:
        engine = engines.connect(url)
        schema.migrate(engine)
        yield engine, url
        engine.dispose()


def _pace(engine: Engine, url: str, shape: Shape) -> None:
    rng = np.random.default_rng(0)
    model_id = _model(engine, "m", shape, rng)
    spool = uuid4()
    for first in range(0, shape.rows, BATCH):
        _log(engine, spool, "m:1", first, _predictions(shape, BATCH, rng))
    settings = {"window_size": 100_000}  # so that no window is full
    monitor = _monitor(engine, url, shape, **settings)
    _warm_up(monitor)
    with engine.connect() as connection:
        before = _seen(connection, model_id)
    profile = cProfile.Profile()
    started = _processor(engine)
    while monitor.turn():
        pass
    seconds = _processor(engine) - started
    with engine.connect() as connection:
        done = _seen(connection, model_id) - before
    again = _monitor(engine, url, shape, **settings)
    with engine.begin() as connection:
        watch.release(connection, [target.id for target in watch.targets(connection)], monitor.id)
        connection.execute(text("UPDATE streams SET position = 0 WHERE slice = ''"))
        connection.execute(text("TRUNCATE checkpoints"))
    _warm_up(again)
    profile.enable()
    while again.turn():
        pass
    profile.disable()
    shares = _shares(profile)
    rest = max(1 - sum(shares.values()), 0.0)
    cells = " | ".join(f"{shares[stage]:.0%}" for stage in STAGES)
    print(f"| {shape.name} | {done / seconds:,.0f} | {cells} | {rest:.0%} |", flush=True)


def _warm_up(monitor: Monitor) -> None:
    """Prepare the reference and make a first step."""
    monitor.turn()


def _rest(engine: Engine, url: str) -> None:
    """Print the WAL that a prediction costs when they come one by one, and in bulk."""
    shape = SHAPES[0]
    rng = np.random.default_rng(0)
    _model(engine, "m", shape, rng)
    spool, monitor = uuid4(), _monitor(engine, url, shape)
    _log(engine, spool, "m:1", 0, _predictions(shape, BATCH, rng))
    monitor.settle()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))
    first = BATCH
    for name, sizes in (("one at a time", [1] * REST), ("1,000 at a time", [1000] * 20)):
        logging = processing = 0
        for size in sizes:
            position, batch = _wal(engine), _predictions(shape, size, rng)
            _log(engine, spool, "m:1", first, batch)
            first += size
            written = _wal(engine)
            monitor._polled_at = -float("inf")
            while monitor.turn():
                pass
            logging += written - position
            processing += _wal(engine) - written
        count = sum(sizes)
        print(f"WAL a prediction, {name}: {processing / count / 1000:.2f} kB of the monitor, ", end="")
        print(f"{logging / count / 1000:.2f} kB of its row", flush=True)
    print()


def _fleet(engine: Engine, url: str, name: str, senders: list[str], tags: tuple[str, ...]) -> None:
    """Print the share of a core that streams with one prediction a second each cost, Postgres' sessions included."""
    shape = Shape("", 512, 10, 0, tags)
    calibration = None
    for model in dict.fromkeys(senders):
        model_id = _model(engine, model, shape, np.random.default_rng(0))
        with engine.begin() as connection:
            if calibration is not None:
                references.save_calibration(connection, model_id, calibration)
        if calibration is None:
            _monitor(engine, url, shape).settle()
            with engine.begin() as connection:
                calibration = references.load_calibration(connection, model_id)
                watch.release(connection, [target.id for target in watch.targets(connection)], _owner(connection))
    monitor = _monitor(engine, url, shape, monitor_poll=1.0, max_slices=FLEET)
    spools = {model: uuid4() for model in senders}
    first = dict.fromkeys(senders, 0)
    rng = np.random.default_rng(1)

    def send(count: int) -> None:
        for model in spools:
            batch = _predictions(shape, count, rng, values=FLEET, model=f"{model}:1")
            _log(engine, spools[model], f"{model}:1", first[model], batch)
            first[model] += count

    each = senders.count(senders[0])
    for _ in range(3):
        send(10 * each)
        monitor.settle()
    seconds = 0.0
    for _ in range(FLEET_SECONDS):
        begun = time.monotonic()
        send(each)
        started = _processor(engine)
        monitor._polled_at = -float("inf")
        while monitor.turn():
            pass
        seconds += _processor(engine) - started
        time.sleep(max(begun + 1 - time.monotonic(), 0.0))
    print(f"{len(senders)} {name} with a prediction a second each: {seconds / FLEET_SECONDS:.1%} of a core", flush=True)


def _owner(connection: Connection) -> Any:
    return connection.execute(
        text("SELECT lease_owner FROM streams WHERE lease_owner IS NOT NULL LIMIT 1")
    ).scalar_one()


def _many_streams(engine: Engine, url: str) -> None:
    shape = Shape("", 512, 10, 0, ("camera",))
    rng = np.random.default_rng(0)
    process = psutil.Process(os.getpid())
    settings = {"slice_tags": ("camera",), "max_slices": STREAMS}
    _model(engine, "m", shape, rng)
    monitor = _monitor(engine, url, shape, **settings)
    spool = uuid4()
    before = process.memory_info().rss
    for number in range(6):
        _log(engine, spool, "m:1", number * 1000, _predictions(shape, 1000, rng, values=STREAMS))
    monitor.settle()
    grown = process.memory_info().rss - before
    app = FastAPI()
    app.state.server = database_state(engine, Settings())
    app.include_router(drift.router)
    client = TestClient(app)
    asked: dict[str, Callable[[], Any]] = {
        "/metrics": lambda: drift_exposition(DriftCollector(engine)),
        "/drift": lambda: client.get("/drift").raise_for_status(),
    }
    print(f"{STREAMS} streams: {grown / 1e6:.0f} MB in the monitor, ", end="")
    print(", ".join(f"{name} {_quickest(ask) * 1000:.0f} ms" for name, ask in asked.items()), flush=True)


def _model(engine: Engine, name: str, shape: Shape, rng: np.random.Generator) -> int:
    arrays: dict[str, Any] = {
        "embeddings": rng.normal(size=(2000, shape.size)).astype(HALF),
        "probabilities": rng.dirichlet(np.ones(shape.classes), 2000).astype(HALF),
        "labels": rng.integers(0, shape.classes, 2000),
    }
    with engine.begin() as connection:
        labels = [str(label) for label in range(shape.classes)]
        model_id = models.register(connection, name, "1", "a" * 64, labels)
        references.save(connection, model_id, arrays)
        raw: Any = connection.connection.driver_connection
        predictions.ensure_partitions(raw, [dt.datetime.now(dt.UTC).date() + dt.timedelta(days=n) for n in range(2)])
    return model_id


def _predictions(
    shape: Shape, count: int, rng: np.random.Generator, values: int = SLICES, model: str = "m:1"
) -> Logged:
    ids = b"".join(uuid7().bytes for _ in range(count))
    tags = [b'{"camera":"%d"}' % (number % values) for number in range(count)] if shape.tags else None
    probabilities = rng.dirichlet(np.ones(shape.classes), count)
    return logged(model, ids, probabilities, rng.normal(size=(count, shape.size)), None, tags)


def _log(engine: Engine, spool: Any, model: str, first: int, batch: Logged) -> None:
    with engine.begin() as connection:
        raw: Any = connection.connection.driver_connection
        log_writer.write(raw, spool, [NumberedBatch(1 + first, batch)], models.ids(connection))


def _monitor(engine: Engine, url: str, shape: Shape, **settings: Any) -> Monitor:
    own: dict[str, Any] = {"slice_tags": shape.tags, "expected_run_time": 10_000_000, "monitor_poll": 0.001}
    alerts = Alerts(open_queue(engines.conninfo(url)), (), "")
    return Monitor(Settings(**own | settings), engine, alerts, inline=True)


def _seen(connection: Connection, model_id: int) -> int:
    query = text("SELECT seen FROM streams WHERE model_id = :model AND slice = ''")
    return int(connection.execute(query, {"model": model_id}).scalar_one())


def _shares(profile: cProfile.Profile) -> dict[str, float]:
    stats = pstats.Stats(profile)
    total = stats.total_tt  # type: ignore[attr-defined]
    times = {
        (Path(file).name, function): cumulative
        for (file, _, function), (_, _, _, cumulative, _) in stats.stats.items()  # type: ignore[attr-defined]
    }
    return {stage: times.get(place, 0.0) / total for stage, place in STAGES.items()}


def _processor(engine: Engine) -> float:
    """Return the seconds of processor time that this process and the sessions of Postgres have taken."""
    with engine.connect() as connection:
        pids = list(connection.execute(text("SELECT pid FROM pg_stat_activity WHERE state IS NOT NULL")).scalars())
    seconds = time.process_time()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            seconds += times.user + times.system
    return seconds


def _wal(engine: Engine) -> int:
    with engine.connect() as connection:
        query = text("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
        return int(connection.execute(query).scalar_one())


def _quickest(ask: Callable[[], Any]) -> float:
    times = []
    for _ in range(10):
        started = time.process_time()
        ask()
        times.append(time.process_time() - started)
    return min(times)
