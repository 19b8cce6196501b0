"""Accepted traffic is what a stream is compared with: it raises nothing, and a further change raises an alert."""

import datetime as dt
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from tests.support.monitoring import NAMES, WORLD, Installation
from tests.support.worlds import Change
from tidemark.alerts import acceptance
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.monitor.monitor import Monitor
from tidemark.pages import guidance
from tidemark.store import baselines, feedback, streams
from tidemark.store.baselines import AcceptedPart
from tidemark.store.engine import conninfo
from tidemark.store.report_json import WindowReportJson

CHANGE: Change = {"move": 0.6}


class Changed(Installation):
    """A stream whose images have changed for good, with an alert that fires and 1,000 predictions since."""

    def __init__(self, engine: Engine, url: str) -> None:
        super().__init__(engine, url, expected_run_time=200_000)
        self.watching = self.monitor()
        self.started = dt.datetime.now(dt.UTC)
        self.send(300, self.watching)
        for _ in range(20):
            self.send(50, self.watching, **CHANGE)
            if self.alerts():
                break
        self.send(1000, self.watching, **CHANGE)

    def accept(self, what: AcceptedPart) -> None:
        [alert] = self.alerts()
        raiser = Alerts(open_queue(conninfo(self.url)), (), "http://x")
        now = dt.datetime.now(dt.UTC)
        with self.engine.begin() as connection:
            row = streams.get(connection, self.stream_id)
            acceptance.accept(connection, raiser, row, what, (alert.since, now), by="a test", note="new camera", at=now)
        self.watching.settle()

    def firing(self) -> list[Any]:
        return [alert for alert in self.alerts() if alert.state == "firing"]


@pytest.fixture
def changed(engine: Engine, url: str) -> Changed:
    return Changed(engine, url)


def send_until_alert(changed: Changed, limit: int, monitor: Monitor | None = None, **change: Any) -> int | None:
    for sent in range(0, limit, 50):
        changed.send(50, monitor or changed.watching, **change)
        if changed.firing():
            return sent + 50
    return None


def test_the_accepted_change_is_calm_and_a_further_one_alarms(changed: Changed) -> None:
    changed.accept("all")
    [alert] = changed.alerts()
    assert (alert.state, alert.resolution) == ("resolved", "accepted")
    assert changed.stream().state == "calm"
    changed.send(2000, changed.watching, **CHANGE)
    assert changed.firing() == []
    assert send_until_alert(changed, 400, **CHANGE, noise=1.2) is not None
    [again] = changed.firing()
    assert again.id != alert.id


def test_another_monitor_continues_with_the_accepted_baseline(changed: Changed) -> None:
    changed.accept("all")
    changed.send(200, changed.watching, **CHANGE)
    changed.watching.close()
    with changed.engine.connect() as connection:
        current = baselines.current(connection, changed.stream_id)
        assert current is not None
        assert baselines.load(connection, current.id).calibration is not None
    other = changed.monitor()
    changed.send(1000, other, **CHANGE)
    assert changed.firing() == []
    assert send_until_alert(changed, 400, other) is not None


def test_an_accepted_change_drifts_again_once_its_acceptance_is_undone(changed: Changed) -> None:
    changed.accept("all")
    with changed.engine.begin() as connection:
        row = streams.get(connection, changed.stream_id)
        acceptance.undo(connection, row, "a test", dt.datetime.now(dt.UTC))
    assert send_until_alert(changed, 400, **CHANGE) is not None


@pytest.mark.parametrize(("bound", "value"), [("MAX_ROWS", 600), ("MAX_BYTES", 600 * 2 * (WORLD.d + WORLD.k))])
def test_a_baseline_keeps_a_bounded_number_of_the_predictions(
    changed: Changed, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(acceptance, bound, value)
    changed.accept("all")
    with changed.engine.connect() as connection:
        current = baselines.current(connection, changed.stream_id)
        assert current is not None
        accepted = baselines.load(connection, current.id).arrays
    assert 0 < current.rows == len(accepted["embeddings"]) <= 600


def test_an_accepted_mix_does_not_accept_the_images(changed: Changed) -> None:
    changed.accept("mix")
    assert send_until_alert(changed, 400, **CHANGE) is not None


def test_labels_of_the_reference_still_judge_the_accepted_traffic(changed: Changed) -> None:
    changed.accept("all")
    ids = changed.log(WORLD.traffic(400, changed.rng, **CHANGE))
    with changed.engine.connect() as connection:
        predicted = feedback.find(connection, ids)
    wrong = np.array([(predicted[key].predicted + 1) % len(NAMES) for key in ids])
    changed.label(ids, wrong)
    changed.watching.settle()
    assert [alert.kind for alert in changed.firing()] == ["concept"]


def test_an_alert_of_a_stream_that_always_differed_names_the_command_that_accepts_it(engine: Engine, url: str) -> None:
    installation = Installation(engine, url)
    monitor = installation.monitor()
    mix = [0.5, 0.2, 0.1, 0.1, 0.1]
    for _ in range(20):
        installation.send(50, monitor, prior=mix)
        if installation.alerts():
            break
    [alert] = installation.alerts()
    since = alert.since.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    command = f"tidemark accept --stream m:1 --since {since} --what mix"
    assert alert.kind == "label"
    assert alert.summary.endswith(f"It differs from the first prediction on; if this is the normal mix: {command}")
    assert "first prediction" not in alert.report["summary"]
    report: WindowReportJson = {**alert.report, "kind": alert.kind}
    assert guidance.first_contact(report, alert.stream, alert.since.isoformat()) == command


def test_a_change_in_the_course_of_a_stream_is_no_first_contact(changed: Changed) -> None:
    [alert] = changed.alerts()
    assert "first prediction" not in alert.summary
    report: WindowReportJson = {**alert.report, "kind": alert.kind}
    assert guidance.first_contact(report, alert.stream, alert.since.isoformat()) is None
