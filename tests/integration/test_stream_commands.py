"""`tidemark stream` and `tidemark accept` on a real database."""

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from tests.support.predictions import new_ids, write
from tidemark.alerts.alert_draft import AlertDraft
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.alerts.retirement import retire_idle
from tidemark.cli import app
from tidemark.errors import TidemarkError
from tidemark.store import alerts, baselines, models, monitor_progress, references, streams, tables
from tidemark.store.engine import conninfo
from tidemark.store.logged import logged
from tidemark.store.report_json import WindowReportJson
from tidemark.store.tables import evidence_points

REPORT: WindowReportJson = {
    "size": 500,
    "p_value": 0.001,
    "drifted": True,
    "kind": "covariate",
    "summary": "Images are darker",
}
START = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)


class World:
    """A stream m:1 with 600 logged predictions and an alert that fires."""

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine = engine
        rng = np.random.default_rng(0)
        embeddings = rng.normal(size=(600, 4)).astype(np.float32)
        probabilities = rng.dirichlet(np.ones(3), 600).astype(np.float32)
        with engine.begin() as connection:
            model_id = models.register(connection, "m", "1", "a" * 64, ["a", "b", "c"])
            references.save(connection, model_id, {"embeddings": embeddings, "probabilities": probabilities})
            write(connection, logged("m:1", new_ids(600), probabilities, embeddings, None))
            self.stream_id = streams.require(connection, "m:1").id
            raiser = Alerts(open_queue(conninfo(url)), [], "http://x")
            draft = AlertDraft(self.stream_id, START, "covariate", START, 7, REPORT)
            self.alert_id = raiser.fire(connection, draft)

    def alert(self) -> alerts.AlertRow:
        with self.engine.connect() as connection:
            row = alerts.get(connection, self.alert_id)
        assert row is not None
        return row

    def names(self) -> list[str]:
        with self.engine.connect() as connection:
            return [row.stream for row in streams.load_all(connection)]


@pytest.fixture
def world(engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", url)
    return World(engine, url)


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_retired_stream_ends_with_its_alerts(world: World) -> None:
    assert run("stream", "retire", "m:1") == {"retired": "m:1", "resolved": 1}
    assert (world.alert().state, world.alert().resolution) == ("resolved", "retired")
    assert world.names() == []
    [listed] = run("stream", "list")["streams"]
    assert (listed["stream"], listed["state"], listed["kind"]) == ("m:1", "retired", "none")


def test_the_slices_of_a_model_are_retired_with_it(world: World) -> None:
    with world.engine.begin() as connection:
        whole = streams.require(connection, "m:1")
        connection.execute(tables.streams.insert().values(model_id=whole.model_id, slice="camera=7"))
    assert run("stream", "retire", "m:1/camera=7")["resolved"] == 0
    assert world.names() == ["m:1"]
    run("stream", "retire", "m:1")
    assert world.names() == []


def test_streams_without_traffic_end_by_themselves_and_come_back_with_it(world: World, url: str) -> None:
    raiser, now = Alerts(open_queue(conninfo(url)), [], "http://x"), dt.datetime.now(dt.UTC)

    def retired(age: dt.timedelta) -> list[str]:
        return retire_idle(world.engine, raiser, age, now)

    at_once = dt.timedelta(0)
    assert retired(at_once) == []  # its predictions are not watched yet
    with world.engine.begin() as connection:
        connection.execute(tables.streams.update().values(position=600))
    assert retired(dt.timedelta(hours=1)) == []
    assert retired(at_once) == ["m:1"]
    assert world.alert().resolution == "retired"
    assert (world.names(), retired(at_once)) == ([], [])
    with world.engine.begin() as connection:
        assert monitor_progress.reopen(connection) == 0
        values = np.full((1, 3), 1 / 3, np.float32)
        write(connection, logged("m:1", new_ids(1), values, np.zeros((1, 4), np.float32), None))
    with world.engine.begin() as connection:
        assert monitor_progress.reopen(connection) == 1
    assert world.names() == ["m:1"]


def test_a_slice_without_traffic_ends_alone(world: World, url: str) -> None:
    raiser, now = Alerts(open_queue(conninfo(url)), [], "http://x"), dt.datetime.now(dt.UTC)
    with world.engine.begin() as connection:
        whole = streams.require(connection, "m:1")
        for name, hours in (("camera=7", 3), ("camera=8", 0), ("camera=9", None)):
            statement = tables.streams.insert().values(model_id=whole.model_id, slice=name)
            stream_id = connection.execute(statement.returning(tables.streams.c.id)).scalar_one()
            if hours is not None:
                at = now - dt.timedelta(hours=hours)
                point = {"stream_id": stream_id, "position": 1, "at": at, "evidence": 1.0}
                connection.execute(evidence_points.insert().values(point))
    assert retire_idle(world.engine, raiser, dt.timedelta(hours=2), now) == ["m:1/camera=7"]
    assert world.names() == ["m:1", "m:1/camera=8", "m:1/camera=9"]


def test_streams_are_listed_for_people(world: World) -> None:
    text = CliRunner().invoke(app, ["stream", "list"]).stdout
    assert "m:1" in text
    assert "the reference" in text


def test_a_span_is_accepted_and_that_is_undone(world: World) -> None:
    facts = run("accept", "--stream", "m:1", "--since", START.isoformat(timespec="seconds"), "--note", "new camera")
    assert (facts["rows"], facts["what"], facts["resolved"]) == (600, "all", 1)
    assert world.alert().resolution == "accepted"
    with world.engine.connect() as connection:
        baseline = baselines.current(connection, world.stream_id)
    assert baseline is not None
    assert baseline.note == "new camera"
    assert baseline.accepted_by.endswith("(command line)")
    [listed] = run("stream", "list")["streams"]
    assert listed["baseline"] == "all"
    assert run("accept", "--stream", "m:1", "--undo")["baseline"] == "its reference"
    with pytest.raises(TidemarkError, match="no accepted baseline"):
        run("accept", "--stream", "m:1", "--undo")


def test_a_mix_that_would_take_accepted_images_back_is_accepted_with_them_and_says_so(world: World) -> None:
    since = START.isoformat(timespec="seconds")
    run("accept", "--stream", "m:1", "--since", since, "--note", "new camera")
    facts = run("accept", "--stream", "m:1", "--since", since, "--what", "mix", "--note", "new season")
    assert facts["what"] == "all"
    assert facts["note"].startswith("new season; the mix was requested, but")
    run("accept", "--stream", "m:1", "--undo")
    run("accept", "--stream", "m:1", "--undo")
    text = CliRunner().invoke(app, ["accept", "--stream", "m:1", "--since", since, "--what", "mix"]).stdout
    assert "are the baseline (mix)" in text
    assert "Note" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--since"),
        (["--since", "2020-01-01", "--what", "labels"], "mix, images, all"),
        (["--since", "2020-01-02", "--until", "2020-01-01"], "--until"),
        (["--since", "2020-01-01", "--until", "2020-01-02"], "needs 500"),
    ],
)
def test_an_acceptance_that_cannot_be_made_says_why(world: World, options: list[str], message: str) -> None:
    with pytest.raises(TidemarkError, match=message):
        run("accept", "--stream", "m:1", *options)
    assert world.alert().state == "firing"


def test_an_unknown_stream_is_answered_with_those_there_are(world: World) -> None:
    for words in (["stream", "retire", "n:1"], ["accept", "--stream", "n:1", "--undo"]):
        with pytest.raises(TidemarkError, match="there are: m:1"):
            run(*words)
