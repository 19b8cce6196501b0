"""Several monitors, monitors that take over from others, and what they leave to each other in Postgres."""

import threading
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from tests.support.monitoring import NAMES, WORLD, Installation, calibration
from tests.support.worlds import World
from tidemark.drift import StreamDetector
from tidemark.store import models, monitor_progress, references, streams
from tidemark.store.arrays import pack, unpack


def test_a_monitor_that_is_replaced_on_the_way_finds_the_same(engine: Engine, url: str) -> None:
    """Evidence and windows of one monitor against those of six, one after the other."""
    one = Installation(engine, url)
    monitor = one.monitor()
    change: list[dict[str, float]] = [{}] * 30 + [{"move": 0.5}] * 10
    for step in change:
        one.send(37, monitor, **step)
    undisturbed = [(row.first, row.size, row.p_value, row.kind) for row in one.windows()]
    state = one.stream()
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE windows, alerts, deliveries, feedback, predictions, streams CASCADE"))
        models.register(connection, "m", "1", "a" * 64, NAMES)
        again = int(streams.load_all(connection)[0].id)
        streams.save(connection, again, reference_id=state.reference_id)
    one.stream_id, one.rng = again, np.random.default_rng(0)
    WORLD.reference(1500, one.rng)
    for index, step in enumerate(change):
        if index % 8 == 0:
            one.expire_leases()
            monitor = one.monitor()
        one.send(37, monitor, **step)
    assert [(row.first, row.size, row.p_value, row.kind) for row in one.windows()] == undisturbed
    assert one.stream().status["evidence"] == state.status["evidence"]


def test_two_monitors_process_each_prediction_once(installation: Installation) -> None:
    installation.log(WORLD.traffic(3000, installation.rng))
    monitors = [installation.monitor() for _ in range(2)]
    threads = [threading.Thread(target=monitor.settle) for monitor in monitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    firsts = sorted(row.first for row in installation.windows())
    assert firsts == list(range(0, 2801, 100))
    assert installation.stream().seen == 3000


def test_a_reference_is_calibrated_once_and_keeps_the_calibration(installation: Installation) -> None:
    def stored() -> dict[str, Any] | None:
        with installation.engine.connect() as connection:
            return references.load_calibration(connection, installation.stream().reference_id)

    installation.forget_calibrations()
    installation.send(100)
    calibration_columns, expected = stored(), calibration()
    assert calibration_columns is not None
    assert all(
        np.allclose(calibration_columns[name], expected[name]) for name in expected if name != "expected_run_time"
    )


def test_a_monitor_that_dies_loses_its_model_to_another(installation: Installation) -> None:
    dead, other = installation.monitor(), installation.monitor()
    installation.send(250, dead)
    installation.log(WORLD.traffic(250, installation.rng))
    other.settle()
    assert installation.stream().seen == 250
    installation.expire_leases()
    other.settle()
    assert installation.stream().seen == 500
    installation.send(250, dead)
    assert installation.stream().seen == 500
    assert installation.stream().lease_owner == other.id
    other.settle()
    assert sorted(row.first for row in installation.windows()) == list(range(0, 501, 100))


def test_a_calibration_of_other_scores_from_an_earlier_version_is_computed_again(
    engine: Engine, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    installation = Installation(engine, url)
    installation.send(500)
    other = StreamDetector(World(k=7).reference(500, np.random.default_rng(0)), expected_run_time=20_000)
    with engine.begin() as connection:
        reference_id = installation.stream().reference_id
        references.save_calibration(connection, reference_id, other.calibration())
        stored = monitor_progress.load_checkpoint(connection, installation.stream_id)
        arrays = unpack(stored.state) | {f"detector.{name}": value for name, value in other.state().items()}
        monitor_progress.save_checkpoint(connection, installation.stream_id, stored.position, 0, pack(arrays))
    installation.send(500)
    stream = installation.stream()
    assert (stream.seen, stream.state) == (1000, "calm")
    assert "its evidence starts again" in caplog.text
    with engine.connect() as connection:
        calibration = references.load_calibration(connection, reference_id)
    assert calibration is not None
    assert len(calibration["ratio_start"]) != len(np.asarray(other.calibration()["ratio_start"]))
    caplog.clear()
    installation.send(20)
    assert "again" not in caplog.text
