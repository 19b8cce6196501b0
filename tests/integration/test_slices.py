"""Streams of single tag values: bounded, exactly once, each with its own state, and named in the alert."""

import datetime as dt
import time
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine, text

from tests.support.monitoring import WORLD, Installation
from tests.support.predictions import write
from tests.support.worlds import Arrays
from tidemark.commands.calibrate import calibrate
from tidemark.errors import TidemarkError
from tidemark.monitor import heavy_hitters, step_retries
from tidemark.monitor.monitor import Monitor
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference
from tidemark.settings import Settings
from tidemark.store import log, models, monitor_progress, streams, traffic
from tidemark.store.arrays import unpack
from tidemark.store.logged import logged
from tidemark.store.prediction_id import id_at

PREPARED: dict[BaselineKey, PreparedReference] = {}  # the reference that all these tests have, prepared once


class Sliced(Installation):
    """An installation whose traffic carries the tag `camera`."""

    def __init__(self, engine: Engine, url: str, **settings: Any) -> None:
        super().__init__(engine, url, slice_tags=("camera",), **settings)
        self.settings = self.settings.model_copy(update={"window_size": 400, "window_stride": 400})

    def monitor(self) -> Monitor:
        monitor = super().monitor()
        monitor._baselines._ready = PREPARED
        return monitor

    def tagged(self, arrays: Arrays, cameras: Any) -> list[Any]:
        return self.log(arrays, [b'{"camera":"%s"}' % str(camera).encode() if camera else b"{}" for camera in cameras])

    def slices(self) -> dict[str, Any]:
        with self.engine.connect() as connection:
            return {row.slice: row for row in streams.load_all(connection)}

    def members(self, name: str) -> list[Any]:
        """Return the newest predictions of a slice, as its checkpoint knows them."""
        with self.engine.connect() as connection:
            stored = monitor_progress.load_checkpoint(connection, self.slices()[name].id)
        assert stored is not None
        return [UUID(bytes=key.tobytes()) for key in unpack(stored.state)["recent"]]


@pytest.fixture
def installation(engine: Engine, url: str) -> Sliced:
    return Sliced(engine, url, max_slices=2)


def cameras(n: int, rng: np.random.Generator, shares: dict[str, float]) -> list[str]:
    return [str(camera) for camera in rng.choice(list(shares), n, p=list(shares.values()))]


def test_every_prediction_belongs_to_one_slice_of_its_tag(installation: Sliced) -> None:
    rng = installation.rng
    named = cameras(900, rng, {"7": 0.5, "8": 0.3, "9": 0.1, "": 0.1})
    ids = installation.tagged(WORLD.traffic(900, rng), named)
    installation.watch()
    streams_by_slice = installation.slices()
    assert set(streams_by_slice) == {"", "camera=7", "camera=8", "camera=other"}
    for name, camera in (("camera=7", "7"), ("camera=8", "8"), ("camera=other", "9")):
        expected = [key for key, value in zip(ids, named, strict=True) if value == camera]
        assert installation.members(name) == expected
        assert streams_by_slice[name].seen == len(expected)
        assert streams_by_slice[name].stream == f"m:1/{name}"
    assert streams_by_slice[""].seen == 900
    assert {row.stream for row in installation.windows()} == {"m:1", "m:1/camera=7"}


def test_a_shift_in_one_camera_is_found_by_its_slice_and_named(installation: Sliced) -> None:
    rng, monitor = installation.rng, installation.monitor()
    shares = {"7": 0.1, "8": 0.9}
    installation.tagged(WORLD.traffic(600, rng), cameras(600, rng, shares))
    installation.watch(monitor)
    assert installation.alerts() == []
    while not installation.alerts():
        named = cameras(100, rng, shares)
        arrays, shifted = WORLD.traffic(100, rng), WORLD.traffic(100, rng, prior=[0.8, 0.05, 0.05, 0.05, 0.05])
        from_seven = np.array(named) == "7"
        for key, values in arrays.items():
            values[from_seven] = shifted[key][from_seven]
        installation.tagged(arrays, named)
        installation.watch(monitor)
        assert installation.slices()["camera=7"].seen < 60 + 200  # a label shift is named from 150 predictions on
    (alert,) = installation.alerts()
    assert (alert.stream, alert.kind) == ("m:1/camera=7", "label")
    assert alert.summary.startswith("camera=7: ")


def test_several_monitors_and_crashes_give_each_slice_the_same(engine: Engine, url: str) -> None:
    """One monitor against two, each of which dies on the way and leaves its steps since the checkpoint to a replay."""
    one = Sliced(engine, url, max_slices=2)
    shares = {"7": 0.5, "8": 0.3, "9": 0.2}
    parts = [(WORLD.traffic(300, one.rng), cameras(300, one.rng, shares)) for _ in range(3)]
    monitor = one.monitor()
    for arrays, named in parts:
        one.tagged(arrays, named)
        one.watch(monitor)
    undisturbed = _state(one)
    reference_id = one.stream().reference_id
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE windows, predictions, streams CASCADE"))
        models.register(connection, "m", "1", "a" * 64, ["a", "b", "c", "d", "e"])
        again = int(streams.load_all(connection)[0].id)
        streams.save(connection, again, reference_id=reference_id)
    for arrays, named in parts:
        one.tagged(arrays, named)
        one.expire_leases()
        one.monitor().settle()
    one.expire_leases()
    one.monitor().settle()
    assert _state(one) == undisturbed


def _state(installation: Sliced) -> Any:
    windows = sorted((row.stream, row.first, row.size, row.p_value) for row in installation.windows())
    return windows, {name: (row.seen, row.status["evidence"]) for name, row in installation.slices().items()}


def test_a_busier_camera_takes_the_place_of_one_that_ended(
    installation: Sliced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heavy_hitters, "REVIEW", 200)
    rng, monitor = installation.rng, installation.monitor()

    def send(*pattern: str) -> dict[str, Any]:
        installation.tagged(WORLD.traffic(200, rng), list(pattern) * (200 // len(pattern)))
        installation.watch(monitor)
        return installation.slices()

    assert set(send("old", "kept")) == {"", "camera=old", "camera=kept"}
    assert set(send("new", "kept")) == {"", "camera=new", "camera=kept", "camera=other"}
    streams_by_slice = send("new", "kept")
    assert [streams_by_slice[f"camera={name}"].seen for name in ("new", "kept", "other")] == [100, 300, 100]
    for _ in range(3):
        streams_by_slice = send("old", "new")
    assert set(streams_by_slice) == {"", "camera=new", "camera=old", "camera=other"}
    assert streams_by_slice["camera=old"].seen == 100 + 100  # in its first and in its second life
    assert sum(row.seen for name, row in streams_by_slice.items() if name) == 1200 - 300  # camera=kept is gone


def test_a_tag_that_is_no_longer_asked_for_retires_its_streams(installation: Sliced) -> None:
    rng = installation.rng
    installation.tagged(WORLD.traffic(50, rng), ["7"] * 50)
    installation.watch()
    installation.settings = installation.settings.model_copy(update={"slice_tags": ()})
    installation.tagged(WORLD.traffic(50, rng), ["7"] * 50)
    installation.watch()
    assert set(installation.slices()) == {""}


def test_a_concept_shift_of_one_camera_is_found_in_its_labels(installation: Sliced) -> None:
    rng, monitor = installation.rng, installation.monitor()

    def labelled(n: int, swap: bool) -> None:
        labels, named = WORLD.labels(n, rng), ["7", "8"] * (n // 2)
        ids = installation.tagged(WORLD.see(labels, rng), named)
        changed = swap & (np.array(named) == "7")
        installation.label(ids, np.where(changed, (labels + 1) % 5, labels))
        installation.watch(monitor)

    labelled(400, swap=False)
    assert installation.alerts() == []
    clusters = installation.slices()["camera=7"].status["feedback"]["n"]
    assert 180 <= clusters <= 200  # a few of 200 independent labels of one minute join a cluster by mistake
    while not installation.alerts():
        labelled(10, swap=True)
        assert installation.slices()[""].seen < 700
    named = {alert.stream: alert.kind for alert in installation.alerts()}
    assert named.get("m:1/camera=7") == "concept"
    assert "m:1/camera=8" not in named


def test_labels_of_a_slice_that_still_waits_in_the_backlog_count_for_it(
    installation: Sliced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels come back while a monitor that was down has not met the first prediction of the new camera."""
    monkeypatch.setattr(step_retries, "MAX_STEP", 50)
    monitor = installation.monitor()
    labels = WORLD.labels(300, installation.rng)
    ids = installation.tagged(WORLD.see(labels, installation.rng), ["7"] * 300)
    installation.label(ids[:40], labels[:40])
    installation.watch(monitor)
    (model,) = monitor.models
    model.retries.limit = step_retries.MAX_STEP
    labels = WORLD.labels(500, installation.rng)
    ids = installation.tagged(WORLD.see(labels, installation.rng), ["7"] * 300 + ["9"] * 200)
    installation.label([*ids[300:], *ids[:50]], np.concatenate([labels[300:], labels[:50]]))
    installation.watch(monitor)
    assert model.state is not None
    counts = {name: stream.labels.monitor.count for name, stream in model.state.streams.items() if stream.labels}
    assert counts == {"": 290, "camera=7": 90, "camera=9": 200}


def test_a_calm_span_is_of_the_slice_that_is_named(installation: Sliced, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = installation.rng
    ids = installation.tagged(WORLD.traffic(60, rng), ["7", "8", "8"] * 20)
    installation.watch()
    span = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1), dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    with installation.engine.connect() as connection:
        stream = streams.find(connection, "m:1/camera=7")
        assert stream is not None
        batch = traffic.between(connection, stream, *span, 15, WORLD.d)
    assert batch is not None
    assert batch.uuids == ids[::3][-15:]
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", installation.url)
    with pytest.raises(TidemarkError, match="20 predictions of m:1/camera=7 in that span"):
        calibrate("m:1/camera=7", *span)
    monkeypatch.setattr("tidemark.commands.calibrate.MAX_ROWS", 15)
    with pytest.raises(TidemarkError, match="15 predictions of m:1/camera=7 in that span"):
        calibrate("m:1/camera=7", *span)


def test_a_spread_span_is_bounded_by_bytes_and_comes_from_all_of_the_span(
    installation: Sliced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "RUN", 5)
    monkeypatch.setattr(log, "MAX_BYTES", 20 * 2 * (WORLD.d + WORLD.k))
    arrays, begin = WORLD.traffic(100, installation.rng), int(time.time()) - 3600
    ids = b"".join(id_at(1000 * (begin + second), bytes(10)).bytes for second in range(100))
    with installation.engine.begin() as connection:
        write(connection, logged("m:1", ids, arrays["probabilities"], arrays["embeddings"]))
    since, until = (dt.datetime.fromtimestamp(begin + second, dt.UTC) for second in (0, 100))
    with installation.engine.connect() as connection:
        stream = streams.require(connection, "m:1")
        spread = traffic.spread(connection, stream, since, until, 60, WORLD.d)
    assert spread is not None
    assert spread.batch.positions.tolist() == [*range(21, 26), *range(46, 51), *range(71, 76), *range(96, 101)]
    assert spread.share == pytest.approx(0.2, abs=0.05)


def test_tag_keys_are_checked() -> None:
    assert Settings(slice_tags="camera, site").slice_tags == ("camera", "site")
    for wrong in ("camera,camera", "a b", "x=y"):
        with pytest.raises(ValueError, match="entry"):
            Settings(slice_tags=wrong)
    with pytest.raises(ValueError, match="at most 8 tag keys, got 9"):
        Settings(slice_tags="a,b,c,d,e,f,g,h,i")
