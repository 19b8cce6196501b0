"""`tidemark backtest` on a real Postgres: what other settings would have raised, next to what happened."""

import datetime as dt
import html
import json
import shlex
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from tests.support.logged_history import CALM, CHANGE, PACE, SHIFTED, START, LoggedHistory
from tests.support.monitoring import Installation
from tidemark.alerts import acceptance
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.cli import app
from tidemark.commands.backtest import command, log_reader, span_replay
from tidemark.commands.backtest.command import MAX_MOMENTS
from tidemark.commands.backtest.span_replay import SpanTask
from tidemark.errors import TidemarkError
from tidemark.pages import guidance
from tidemark.store import feedback, streams
from tidemark.store.engine import conninfo


@pytest.fixture
def shifted(engine: Engine, url: str) -> LoggedHistory:
    history = LoggedHistory(engine, url)
    history.add(CALM)
    history.add(SHIFTED, **CHANGE)
    return history


def run(history: LoggedHistory, *arguments: str, code: int = 0, stream: str = "m:1") -> Any:
    """Run the command as it is documented, and return what it printed."""
    since, until = START.isoformat(), history.at.isoformat()
    command = ["backtest", "--stream", stream, "--since", since, "--until", until, *arguments]
    result = CliRunner().invoke(app, command, env=history.environment(), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def outcomes(history: LoggedHistory, *arguments: str, stream: str = "m:1") -> dict[str, Any]:
    printed = json.loads(run(history, "--json", *arguments, stream=stream))
    return {outcome["name"]: outcome for outcome in printed["outcomes"]}


def test_a_planted_shift_is_found_with_its_kind_and_its_delay(shifted: LoggedHistory) -> None:
    change = (START + CALM * PACE).isoformat()
    results = outcomes(shifted, "--change", change, "--set", "expected_run_time=5000")
    assert list(results) == ["what happened", "today's settings", "expected_run_time=5000"]
    for name in ("today's settings", "expected_run_time=5000"):
        [detection] = results[name]["detections"]
        assert detection["kind"] == "covariate"
        assert 0 < detection["predictions"] <= 300
        assert detection["seconds"] == pytest.approx(detection["predictions"], abs=15)
        assert results[name]["unexplained"] == 0
        assert results[name]["predictions"] == CALM + SHIFTED
        assert results[name]["predictions_per_second"] > 0
    assert results["expected_run_time=5000"]["threshold"] < results["today's settings"]["threshold"]
    assert results["what happened"]["incidents"] == []


def test_the_replay_raises_what_the_monitor_raised(engine: Engine, url: str) -> None:
    history = LoggedHistory(engine, url)
    monitor = history.monitor()
    for number in range(24):
        history.add(100, **({} if number < 15 else CHANGE))
        history.watch(monitor)
    [alert] = history.alerts()
    [incident] = outcomes(history)["today's settings"]["incidents"]
    assert incident["kind"] == alert.kind
    assert incident["certainty"] == alert.certainty
    assert incident["alarms"][0]["position"] == pytest.approx(alert.position, abs=100)


def test_logged_incidents_are_listed_next_to_the_replay_with_the_estimated_delay(engine: Engine, url: str) -> None:
    history = LoggedHistory(engine, url)
    monitor = history.monitor()
    history.add(CALM)
    history.watch(monitor)
    history.add(SHIFTED, **CHANGE)
    history.watch(monitor)
    [alert] = history.alerts()
    fired = START + (CALM + 200) * PACE
    with engine.begin() as connection:
        connection.execute(text("UPDATE alerts SET fired_at = :at"), {"at": fired})
    happened, today, *_ = outcomes(history).values()
    assert [incident["kind"] for incident in happened["incidents"]] == [alert.kind]
    [before] = happened["detections"]
    assert before["seconds"] == pytest.approx((fired - alert.since).total_seconds(), abs=1)
    assert before["predictions"] == pytest.approx(before["seconds"], abs=2)
    assert today["detections"][0] is not None


def test_the_command_on_the_page_of_an_incident_works_as_written(shifted: LoggedHistory) -> None:
    shifted.watch()
    [alert] = shifted.alerts()
    program, *words = shlex.split(guidance.backtest(alert.stream, alert.since.isoformat()).replace("\\\n", " "))
    assert program == "tidemark"
    result = CliRunner().invoke(app, [*words, "--json"], env=shifted.environment(), catch_exceptions=False)
    assert result.exit_code == 0
    [_, today, other] = json.loads(result.output)["outcomes"]
    assert other["name"] == "expected_run_time=90d"
    assert other["threshold"] > today["threshold"]
    assert [incident["kind"] for incident in other["incidents"]] == ["covariate"]


def test_a_log_in_parts_finds_the_same_change(shifted: LoggedHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_replay, "WARM_UP", 500)
    change = (START + CALM * PACE).isoformat()
    [whole] = outcomes(shifted, "--change", change)["today's settings"]["detections"]
    parts = outcomes(shifted, "--change", change, "--parts", "3")["today's settings"]
    [detection] = parts["detections"]
    assert detection["kind"] == whole["kind"]
    assert detection["predictions"] == pytest.approx(whole["predictions"], abs=30)
    assert [incident["alarms"][0]["position"] for incident in parts["incidents"]] == [
        pytest.approx(CALM + whole["predictions"], abs=30)
    ]


@pytest.mark.slow
def test_dask_gives_what_one_process_gives(shifted: LoggedHistory) -> None:
    pytest.importorskip("distributed")
    alone = outcomes(shifted, "--set", "expected_run_time=5000")
    spread = outcomes(shifted, "--set", "expected_run_time=5000", "--dask", "local")
    for name in alone:
        assert spread[name]["incidents"] == alone[name]["incidents"]


def test_the_log_is_read_in_pieces(shifted: LoggedHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = outcomes(shifted)["today's settings"]
    monkeypatch.setattr(log_reader, "ROWS_AT_ONCE", 130)
    pieces = outcomes(shifted)["today's settings"]
    assert pieces["predictions"] == whole["predictions"]
    assert [incident["kind"] for incident in pieces["incidents"]] == ["covariate"]
    [first], [second] = (incident["alarms"] for one in (whole, pieces) for incident in one["incidents"])
    assert second["position"] == pytest.approx(first["position"], abs=60)


def test_labels_that_came_back_are_replayed(engine: Engine, url: str) -> None:
    history = LoggedHistory(engine, url)
    ids = history.add(600)
    with engine.connect() as connection:
        predicted = feedback.find(connection, ids)
    history.label(ids, np.array([(predicted[key].predicted + 1) % 5 for key in ids]))
    history.watch()
    kinds = {alert.kind for alert in history.alerts()}
    history.at = dt.datetime.now(dt.UTC)
    happened, today = outcomes(history).values()
    assert {incident["kind"] for incident in happened["incidents"]} == kinds
    assert {incident["kind"] for incident in today["incidents"]} == kinds
    assert "concept" in kinds


def test_slices_are_tried_by_a_setting(engine: Engine, url: str) -> None:
    history = LoggedHistory(engine, url)
    cameras = [b'{"camera":"1"}', b'{"camera":"2"}']
    history.add(1000, tags=cameras * 500)
    results = outcomes(history, "--set", "slice_tags=camera")
    assert results["today's settings"]["incidents"] == results["slice_tags=camera"]["incidents"] == []
    assert results["slice_tags=camera"]["expected_run_time"] == 2 * results["today's settings"]["expected_run_time"]


def test_accepted_traffic_is_the_baseline_from_its_acceptance_on(shifted: LoggedHistory) -> None:
    accepted_at = shifted.at
    raiser = Alerts(open_queue(conninfo(shifted.url)), (), "http://x")
    with shifted.engine.begin() as connection:
        row = streams.get(connection, shifted.stream_id)
        span = (START + CALM * PACE, accepted_at)
        acceptance.accept(connection, raiser, row, "all", span, by="a test", note="", at=accepted_at)
        connection.execute(text("UPDATE baselines SET created_at = :at"), {"at": accepted_at})
    shifted.add(SHIFTED, **CHANGE)
    results = outcomes(shifted, "--set", "baseline=now", "--set", "baseline=reference")
    [incident] = results["today's settings"]["incidents"]
    assert incident["resolution"] == "accepted"
    assert dt.datetime.fromisoformat(incident["resolved_at"]) == accepted_at
    [against_reference] = results["baseline=reference"]["incidents"]
    assert against_reference["resolved_at"] is None
    assert all(
        dt.datetime.fromisoformat(incident["alarms"][0]["at"]) < START + CALM * PACE
        for incident in results["baseline=now"]["incidents"]
    )


def test_the_table_and_the_picture_show_every_outcome(shifted: LoggedHistory, tmp_path: Any) -> None:
    picture = tmp_path / "backtest.svg"
    printed = run(shifted, "--picture", str(picture), "--set", "window_size=300")
    for name in ("what happened", "today's settings", "window_size=300"):
        assert name in printed
        assert name in html.unescape(picture.read_text())
    assert 'class="covariate"' in picture.read_text()
    assert "1 covariate" in printed


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--set", "nonsense=1"], "--set: expected NAME=VALUE"),
        (["--set", "window_size"], "--set: expected NAME=VALUE"),
        (["--set", "window_size=1"], "TIDEMARK_WINDOW_SIZE"),
        (["--set", "baseline=yesterday"], "--set baseline"),
        ([f"--set=window_size={size}" for size in range(100, 120)], "at most 20 combinations, got 21"),
        (["--stream", "other:1"], "no stream 'other:1'"),
        (["--since", "2020-01-01", "--until", "2020-01-02"], "no predictions of m:1"),
        (["--until", "2020-01-02"], "--until: expected a time after"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(installation: Installation, arguments: list[str], reason: str) -> None:
    history = LoggedHistory.__new__(LoggedHistory)
    history.__dict__ |= installation.__dict__ | {"at": START + dt.timedelta(hours=1)}
    with pytest.raises(TidemarkError, match=reason.replace("(", r"\(")):
        run(history, *arguments)


@pytest.fixture
def installation(engine: Engine, url: str) -> Installation:
    return Installation(engine, url)


def test_predictions_are_counted_at_a_bounded_number_of_times(
    engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[dt.datetime] = []

    def run_tasks(tasks: list[SpanTask], _: str | None) -> None:
        moments.extend(tasks[0].moments)
        raise TidemarkError("the tasks are enough")

    monkeypatch.setattr(command, "run_tasks", run_tasks)
    history = LoggedHistory(engine, url)
    history.add(100)
    for name, value in history.environment().items():
        monkeypatch.setenv(name, value)
    changes = [START + number * dt.timedelta(milliseconds=1) for number in reversed(range(MAX_MOMENTS + 50))]
    with pytest.raises(TidemarkError, match="enough"):
        command.backtest("m:1", START, history.at, changes=changes)
    assert moments == sorted(changes)[:MAX_MOMENTS]
