"""The monitor on a real Postgres: what it finds in logged traffic, once each, whatever is restarted on the way."""

import datetime as dt
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine

from tests.support.monitoring import NAMES, WORLD, Installation
from tests.support.worlds import Change
from tidemark.alerts import acceptance
from tidemark.alerts.retirement import retire
from tidemark.commands.calibrate import calibrate
from tidemark.store import predictions, references, streams, watch_status
from tidemark.store.label_evidence_json import LabelEvidenceJson

MISSING = [0, 0.25, 0.25, 0.25, 0.25]


def test_calm_traffic_gives_windows_and_no_alert(installation: Installation) -> None:
    installation.send(1000)
    firsts = sorted(row.first for row in installation.windows())
    assert firsts == list(range(0, 801, 100))
    assert all(row.size == 200 for row in installation.windows())
    assert installation.alerts() == []
    stream = installation.stream()
    assert (stream.state, stream.kind, stream.seen) == ("calm", "none", 1000)
    assert 0 < stream.status["evidence"] < stream.status["threshold"]


def test_witnesses_come_with_reference_images_that_have_thumbnails(installation: Installation) -> None:
    installation.send(200)
    (window,) = installation.windows()
    with installation.engine.connect() as connection:
        labels = references.load(connection, window.report["reference"])["labels"]
    assert len(window.report["witnesses"]) == 12
    for witness in window.report["witnesses"]:
        nearest = witness["neighbours"]
        assert all(one["row"] % 10 == 0 and one["label"] == NAMES[labels[one["row"]]] for one in nearest)
        distances = [one["distance"] or 0.0 for one in nearest]
        assert len(distances) == 3
        assert 0 < distances[0] <= distances[1] <= distances[2]


@pytest.mark.parametrize(
    ("kind", "change", "limit"),
    [("covariate", {"move": 0.6}, 120), ("label", {"prior": MISSING}, 250)],
)
def test_a_shift_is_found_named_dated_and_resolved(
    installation: Installation, kind: str, change: Change, limit: int
) -> None:
    monitor = installation.monitor()
    installation.send(600, monitor)
    while not installation.alerts():
        installation.send(20, monitor, **change)
        assert installation.stream().seen <= 600 + limit
    (alert,) = installation.alerts()
    assert alert.kind == kind
    assert alert.summary
    assert abs(installation.logged_before(alert.since) - 600) <= 60
    assert alert.position == installation.stream().seen
    assert installation.stream().state == "drifting"
    installation.send(1500, monitor)
    (alert,) = installation.alerts()
    assert alert.state == "resolved"
    stream = installation.stream()
    assert (stream.state, stream.kind, stream.since) == ("calm", "none", None)


def test_a_concept_shift_is_found_in_the_labels_that_come_back(installation: Installation) -> None:
    monitor = installation.monitor()

    def labelled(n: int, swap: bool) -> None:
        labels = WORLD.labels(n, installation.rng)
        ids = installation.log(WORLD.see(labels, installation.rng))
        truth = np.where(labels == 1, 4, np.where(labels == 4, 1, labels)) if swap else labels
        installation.label(ids, truth)
        installation.watch(monitor)

    labelled(500, swap=False)
    assert installation.alerts() == []
    assert installation.stream().status["feedback"]["accuracy"] > 0.8
    while not installation.alerts():
        labelled(10, swap=True)
        assert installation.stream().seen < 700
    (alert,) = installation.alerts()
    assert alert.kind == "concept"
    assert "b" in alert.summary
    assert "e" in alert.summary
    assert alert.report["kind"] == "concept"
    assert_says_what_the_labels_say(alert.report["labels"], installation)
    labelled(500, swap=False)
    assert installation.alerts()[0].state == "resolved"


def assert_says_what_the_labels_say(labels_report: LabelEvidenceJson, installation: Installation) -> None:
    assert labels_report["high"] < labels_report["promised"]
    assert {item["name"] for item in labels_report["classes"][:2]} <= {"b", "e"} != set()
    for item in labels_report["classes"][:2]:
        assert item["high"] < item["promised"]
        assert max(item["instead"], key=item["instead"].__getitem__) == {"b": "e", "e": "b"}[item["name"]]
    evidence = labels_report["evidence"]
    assert evidence["history"][-1][2] > evidence["threshold"] > evidence["history"][0][2]
    assert 480 <= evidence["change"] <= evidence["history"][-1][1] - 10
    with installation.engine.connect() as connection:
        wrong = [predictions.get(connection, UUID(key)) for key in labels_report["disagreeing"]]
    assert all(row is not None and row.label != row.feedback for row in wrong)
    assert [row.at for row in wrong] == sorted((row.at for row in wrong), reverse=True)


def test_a_slow_stream_is_tested_after_the_maximum_age(engine: Engine, url: str) -> None:
    installation = Installation(engine, url, window_max_age=3600)
    installation.send(60)
    assert installation.windows() == []
    installation.settings = installation.settings.model_copy(update={"window_max_age": 1e-6})
    installation.watch()
    assert [row.size for row in installation.windows()] == [60]


def test_calm_bursts_stop_alarming_once_they_are_declared_calm(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = dt.datetime.now(dt.UTC)
    installation.log(WORLD.bursts(3000, installation.rng))
    end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    installation.watch()
    assert "tidemark calibrate" in installation.stream().status["note"]
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", installation.url)
    monkeypatch.setenv("TIDEMARK_WINDOW_SIZE", "200")
    monkeypatch.setenv("TIDEMARK_EXPECTED_RUN_TIME", "20000")
    facts = calibrate("m:1", start - dt.timedelta(seconds=1), end)
    assert facts["predictions"] == 3000
    assert facts["design_effect"] > 5
    before = len(installation.alerts())
    installation.log(WORLD.bursts(1000, installation.rng))
    installation.watch()
    assert len(installation.alerts()) == before
    assert installation.stream().status.get("note") is None


def test_a_retired_model_begins_again_with_its_next_prediction(installation: Installation) -> None:
    monitor = installation.monitor()
    installation.send(400, monitor)
    installation.send(200, monitor, move=0.6)
    assert len(installation.alerts()) == 1
    with installation.engine.begin() as connection:
        retire(connection, monitor._alerts, streams.require(connection, "m:1"), dt.datetime.now(dt.UTC))
    installation.watch(monitor)
    assert installation.stream().retired_at is not None
    installation.send(30, monitor)
    installation.watch(monitor)
    stream = installation.stream()
    assert (stream.retired_at, stream.state, stream.seen) == (None, "calm", 600 + 30)
    assert installation.alerts()[0].resolution == "retired"


def test_accepted_traffic_becomes_what_the_stream_is_compared_with(installation: Installation) -> None:
    monitor = installation.monitor()
    installation.send(400, monitor)
    start = dt.datetime.now(dt.UTC)
    installation.send(700, monitor, move=0.6)
    assert installation.stream().state == "drifting"
    with installation.engine.begin() as connection:
        row = streams.require(connection, "m:1")
        span = (start, dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1))
        now = dt.datetime.now(dt.UTC)
        acceptance.accept(connection, monitor._alerts, row, "all", span, by="a test", note="", at=now)
    installation.send(1000, monitor, move=0.6)
    stream = installation.stream()
    assert (stream.state, stream.kind) == ("calm", "none")
    assert [alert.resolution for alert in installation.alerts()] == ["accepted"]
    installation.send(300, monitor, move=1.4)
    assert installation.stream().state == "drifting"


def test_a_second_shift_during_an_incident_changes_the_same_alert(installation: Installation) -> None:
    monitor = installation.monitor()
    installation.send(400, monitor)
    installation.send(900, monitor, move=0.5)
    (alert,) = installation.alerts()
    installation.send(300, monitor, move=1.5)
    (changed,) = installation.alerts()
    assert changed.id == alert.id
    assert [entry["reason"] for entry in changed.history if entry["event"] == "drift.changed"][-1] == "further_shift"
    assert changed.summary.startswith("A further shift: ")


def test_a_row_that_cannot_be_processed_is_skipped_counted_and_stops_nothing(installation: Installation) -> None:
    monitor = installation.monitor()
    installation.send(300, monitor)
    arrays = WORLD.traffic(3, installation.rng)
    arrays["probabilities"][1] *= 0.5
    arrays["embeddings"][2] = np.nan
    installation.log(arrays)
    installation.send(297, monitor)
    stream = installation.stream()
    assert stream.seen == 300 + 1 + 297
    assert stream.rejected == {"not_probabilities": 1, "not_finite": 1}
    with installation.engine.connect() as connection:
        watch_state = watch_status.of_models(connection)[installation.model_id]
    assert (watch_state.state, watch_state.lag) == ("watching", 0)
