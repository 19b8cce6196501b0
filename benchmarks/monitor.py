"""Throughput of a monitor and its cost at rest: predictions a second, the share of each stage, WAL, memory, and
the time of `/metrics` and `/drift` with many streams.

Times are of the processor, of this process and of Postgres, so that a busy machine does not change them much. Window
tests are left out of the pace: they run apart from the detector, within a twentieth of a core.
"""

import cProfile
import os
import pstats
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import psutil
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Connection, Engine, text

from benchmarks.monitored_installation import (
    Shape,
    installation,
    log_predictions,
    monitor_of,
    processed_count,
    processor_seconds,
    register_model,
    synthetic_predictions,
    wal_position,
)
from benchmarks.world import World
from tests.support.server import database_state
from tidemark.api.endpoints import drift
from tidemark.api.endpoints.drift_metrics import DriftCollector
from tidemark.api.endpoints.metrics import drift_exposition
from tidemark.monitor.monitor import Monitor
from tidemark.settings import Settings
from tidemark.store import monitor_progress, references

BATCH = 500  # predictions that are logged at a time
STREAMS = 300
REST = 120  # predictions that are sent one by one
FLEET, FLEET_SECONDS = 50, 30  # models with one prediction a second each, and how long they are watched
STAGES = {
    "read": ("log.py", "read"),
    "score": ("rows_by_stream.py", "_score"),
    "detector": ("stream.py", "update_scored"),
    "write": ("model_processor.py", "_write"),
}


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
        with installation() as (engine, url):
            _pace(engine, url, shape)
    print()
    with installation() as (engine, url):
        _wait_for_rest(engine, url)
    with installation() as (engine, url):
        _fleet(engine, url, "models", [f"m{number}" for number in range(FLEET)], ())
    with installation() as (engine, url):
        _fleet(engine, url, "slices of one model", ["m"] * FLEET, ("camera",))
    with installation() as (engine, url):
        _many_streams(engine, url)


def _pace(engine: Engine, url: str, shape: Shape) -> None:
    rng = np.random.default_rng(0)
    model_id = register_model(engine, "m", shape, rng)
    spool = uuid4()
    for first in range(0, shape.rows, BATCH):
        log_predictions(engine, spool, "m:1", first, synthetic_predictions(shape, BATCH, rng))
    settings = {"window_size": 100_000}  # no window becomes full
    monitor = monitor_of(engine, url, shape, **settings)
    _warm_up(monitor)
    with engine.connect() as connection:
        before = processed_count(connection, model_id)
    profile = cProfile.Profile()
    started = processor_seconds(engine)
    while monitor.turn():
        pass
    seconds = processor_seconds(engine) - started
    with engine.connect() as connection:
        processed = processed_count(connection, model_id) - before
    again = monitor_of(engine, url, shape, **settings)
    with engine.begin() as connection:
        monitor_progress.release(connection, [target.id for target in monitor_progress.targets(connection)], monitor.id)
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
    print(f"| {shape.name} | {processed / seconds:,.0f} | {cells} | {rest:.0%} |", flush=True)


def _warm_up(monitor: Monitor) -> None:
    """Prepare the reference and make a first step."""
    monitor.turn()


def _wait_for_rest(engine: Engine, url: str) -> None:
    """Print the WAL that a prediction costs when they come one by one, and in bulk."""
    shape = SHAPES[0]
    rng = np.random.default_rng(0)
    register_model(engine, "m", shape, rng)
    spool, monitor = uuid4(), monitor_of(engine, url, shape)
    log_predictions(engine, spool, "m:1", 0, synthetic_predictions(shape, BATCH, rng))
    monitor.settle()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))
    first = BATCH
    for name, sizes in (("one at a time", [1] * REST), ("1,000 at a time", [1000] * 20)):
        logging = processing = 0
        for size in sizes:
            position, batch = wal_position(engine), synthetic_predictions(shape, size, rng)
            log_predictions(engine, spool, "m:1", first, batch)
            first += size
            written = wal_position(engine)
            monitor._polled_at = -float("inf")
            while monitor.turn():
                pass
            logging += written - position
            processing += wal_position(engine) - written
        count = sum(sizes)
        print(f"WAL a prediction, {name}: {processing / count / 1000:.2f} kB of the monitor, ", end="")
        print(f"{logging / count / 1000:.2f} kB of its row", flush=True)
    print()


def _fleet(engine: Engine, url: str, name: str, senders: list[str], tags: tuple[str, ...]) -> None:
    """Print the share of a core that streams with one prediction a second each cost, Postgres' sessions included."""
    shape = Shape("", 512, 10, 0, tags)
    calibration = None
    for model in dict.fromkeys(senders):
        model_id = register_model(engine, model, shape, np.random.default_rng(0))
        with engine.begin() as connection:
            if calibration is not None:
                references.save_calibration(connection, model_id, calibration)
        if calibration is None:
            monitor_of(engine, url, shape).settle()
            with engine.begin() as connection:
                calibration = references.load_calibration(connection, model_id)
                monitor_progress.release(
                    connection, [target.id for target in monitor_progress.targets(connection)], _owner(connection)
                )
    monitor = monitor_of(engine, url, shape, monitor_poll=1.0, max_slices=FLEET)
    spools = {model: uuid4() for model in senders}
    first = dict.fromkeys(senders, 0)
    rng = np.random.default_rng(1)

    def send(count: int) -> None:
        for model in spools:
            batch = synthetic_predictions(shape, count, rng, values=FLEET, model=f"{model}:1")
            log_predictions(engine, spools[model], f"{model}:1", first[model], batch)
            first[model] += count

    each = senders.count(senders[0])
    for _ in range(3):
        send(10 * each)
        monitor.settle()
    seconds, since = 0.0, time.monotonic()
    for _ in range(FLEET_SECONDS):
        begun = time.monotonic()
        send(each)
        started = processor_seconds(engine)
        monitor._polled_at = -float("inf")
        while monitor.turn():
            pass
        seconds += processor_seconds(engine) - started
        time.sleep(max(begun + 1 - time.monotonic(), 0.0))
    share = seconds / (time.monotonic() - since)
    print(f"{len(senders)} {name} with a prediction a second each: {share:.1%} of a core", flush=True)


def _owner(connection: Connection) -> UUID:
    query = text("SELECT lease_owner FROM streams WHERE lease_owner IS NOT NULL LIMIT 1")
    owner: UUID = connection.execute(query).scalar_one()
    return owner


def _many_streams(engine: Engine, url: str) -> None:
    shape = Shape("", 512, 10, 0, ("camera",))
    rng = np.random.default_rng(0)
    process = psutil.Process(os.getpid())
    settings = {"slice_tags": ("camera",), "max_slices": STREAMS}
    register_model(engine, "m", shape, rng)
    monitor = monitor_of(engine, url, shape, **settings)
    spool = uuid4()
    before = process.memory_info().rss
    for number in range(6):
        log_predictions(engine, spool, "m:1", number * 1000, synthetic_predictions(shape, 1000, rng, values=STREAMS))
    monitor.settle()
    growth = process.memory_info().rss - before
    app = FastAPI()
    app.state.server = database_state(engine, Settings())
    app.include_router(drift.router)
    client = TestClient(app)
    reads: dict[str, Callable[[], object]] = {
        "/metrics": lambda: drift_exposition(DriftCollector(engine)),
        "/drift": lambda: client.get("/drift").raise_for_status(),
    }
    print(f"{STREAMS} streams: {growth / 1e6:.0f} MB in the monitor, ", end="")
    print(", ".join(f"{name} {_shortest_seconds(read) * 1000:.0f} ms" for name, read in reads.items()), flush=True)


def _shares(profile: cProfile.Profile) -> dict[str, float]:
    stats = pstats.Stats(profile)
    total = stats.total_tt  # type: ignore[attr-defined]
    times = {
        (Path(file).name, function): cumulative
        for (file, _, function), (_, _, _, cumulative, _) in stats.stats.items()  # type: ignore[attr-defined]
    }
    return {stage: times.get(place, 0.0) / total for stage, place in STAGES.items()}


def _shortest_seconds(read: Callable[[], object]) -> float:
    times = []
    for _ in range(10):
        started = time.process_time()
        read()
        times.append(time.process_time() - started)
    return min(times)
