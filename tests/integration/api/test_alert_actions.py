"""Receivers tried out, alerts acknowledged, muted and accepted over HTTP, with who and why."""

import datetime as dt
import hashlib
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert

from tests.support.drifting import KEYS, REPORT, SETTING, Drifting, arrays
from tests.support.predictions import new_ids, write
from tidemark.alerts import acceptance
from tidemark.alerts.alert_draft import AlertChange, AlertDraft
from tidemark.settings import Settings
from tidemark.store import baselines, references, streams, tables
from tidemark.store.logged import logged

HOUR = dt.timedelta(hours=1)


def test_acknowledging_records_who_when_and_why(drifting: Drifting) -> None:
    answer = drifting.post("acknowledge", {"note": "seen"})
    assert answer.status_code == 200
    alert = drifting.client.get(f"/alerts/{drifting.alert_id}").json()
    assert alert == answer.json()
    assert (alert["acknowledged"]["by"], alert["acknowledged"]["note"]) == ("anonymous", "seen")
    assert dt.datetime.fromisoformat(alert["acknowledged"]["at"]) >= drifting.started
    assert alert["history"][-1]["event"] == "acknowledged"


@pytest.mark.parametrize("body", [None, {}])
def test_an_acknowledgement_needs_no_note(drifting: Drifting, body: Any) -> None:
    assert drifting.post("acknowledge", body).json()["acknowledged"]["note"] == ""


def test_a_mute_ends_after_a_duration_at_a_time_or_at_once(drifting: Drifting) -> None:
    until = dt.datetime.fromisoformat(drifting.post("mute", {"for": "2h"}).json()["muted_until"])
    assert abs(until - drifting.started - 2 * HOUR) < HOUR
    later = (drifting.started + 5 * HOUR).isoformat()
    assert dt.datetime.fromisoformat(drifting.post("mute", {"until": later}).json()["muted_until"]) == (
        drifting.started + 5 * HOUR
    )
    undone = drifting.post("mute", {"for": "0s"})
    assert (undone.status_code, undone.json()["muted_until"]) == (200, None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"for": "2h", "until": "2030-01-01T00:00:00Z"},
        {"for": "soon"},
        {"for": "1000d"},
        {"until": "2030-01-01T00:00"},
    ],
)
def test_a_mute_that_cannot_be_read_is_a_problem(drifting: Drifting, body: dict[str, str]) -> None:
    answer = drifting.post("mute", body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_accepting_makes_the_traffic_since_the_change_the_baseline(drifting: Drifting) -> None:
    drifting.log(acceptance.MIN_ROWS)
    concept = drifting.fire("concept")
    answer = drifting.post("accept", {"what": "images", "note": "new camera"})
    assert (answer.status_code, answer.json()["state"], answer.json()["resolution"]) == (200, "resolved", "accepted")
    assert drifting.client.get(f"/alerts/{concept}").json()["resolution"] == "accepted"
    stream = drifting.stream()
    assert (stream["state"], stream["kind"]) == ("calm", "none")
    baseline = stream["baseline"]
    assert (baseline["what"], baseline["rows"], baseline["by"]) == ("images", acceptance.MIN_ROWS, "anonymous")
    assert baseline["note"] == "new camera"
    with drifting.engine.connect() as connection:
        current = baselines.current(connection, drifting.stream_id)
        assert current is not None
        traffic = baselines.load(connection, current.id)
    np.testing.assert_allclose(traffic.arrays["embeddings"], arrays(500)["embeddings"], atol=0.01)
    entries = [entry["event"] for entry in answer.json()["history"]]
    assert entries == ["drift.firing", "accepted", "drift.resolved"]


def test_accepting_too_little_traffic_says_how_much_is_missing(drifting: Drifting) -> None:
    drifting.log(120)
    answer = drifting.post("accept", {"what": "all"})
    assert answer.status_code == 409
    assert "120 predictions" in answer.json()["detail"]
    assert "380 more" in answer.json()["detail"]
    assert drifting.client.get(f"/alerts/{drifting.alert_id}").json()["state"] == "firing"


def test_only_the_traffic_since_the_last_further_shift_is_accepted(drifting: Drifting) -> None:
    drifting.log(600)
    with drifting.engine.begin() as connection:
        further = AlertChange(dt.datetime.now(dt.UTC), "further_shift", report=REPORT)
        drifting.alerts.change(connection, drifting.alert_id, further)
    assert drifting.post("accept", {}).status_code == 409
    drifting.log(550)
    assert drifting.post("accept", {}).status_code == 200
    assert drifting.stream()["baseline"]["rows"] == 550


def test_accepting_a_model_accepts_the_slices_whose_alerts_are_part_of_it(drifting: Drifting) -> None:
    values = arrays(700)
    tags = [b'{"camera": "7"}'] * 600 + [b'{"camera": "8"}'] * 100
    with drifting.engine.begin() as connection:
        whole = streams.get(connection, drifting.stream_id)
        write(connection, logged("pets:3", new_ids(700), values["probabilities"], values["embeddings"], None, tags))
        ids = {}
        for name in ("camera=7", "camera=8"):
            columns = {"model_id": whole.model_id, "slice": name, "reference_id": whole.reference_id}
            statement = insert(tables.streams).values(columns).returning(tables.streams.c.id)
            stream_id = connection.execute(statement).scalar_one()
            draft = AlertDraft(stream_id, drifting.started, "covariate", drifting.started, 7, REPORT)
            ids[name] = drifting.alerts.fire(connection, draft)
    assert drifting.post("accept", {}).status_code == 200
    seven, eight = (drifting.client.get(f"/alerts/{ids[name]}").json() for name in ("camera=7", "camera=8"))
    assert (seven["state"], seven["resolution"]) == ("resolved", "accepted")
    assert (eight["state"], eight["parent"]) == ("firing", None)
    rows = {stream["slice"]: stream["baseline"] and stream["baseline"]["rows"] for stream in drifting.streams()}
    assert rows == {None: 700, "camera=7": 600, "camera=8": None}


def test_a_resolved_alert_has_nothing_to_accept(drifting: Drifting) -> None:
    drifting.log(600)
    assert drifting.post("accept", {}).status_code == 200
    again = drifting.post("accept", {})
    assert again.status_code == 409
    assert "resolved (accepted)" in again.json()["detail"]


def test_an_acceptance_can_be_undone(drifting: Drifting) -> None:
    drifting.log(600)
    drifting.post("accept", {"what": "all"})
    path = f"/alerts/{drifting.alert_id}/accept"
    assert drifting.client.delete(path).status_code == 200
    assert drifting.stream()["baseline"] is None
    assert drifting.client.delete(path).status_code == 409


def test_a_new_reference_ends_the_baselines_of_the_old_one(drifting: Drifting) -> None:
    drifting.log(600)
    drifting.post("accept", {"what": "all"})
    with drifting.engine.begin() as connection:
        references.save(connection, streams.get(connection, drifting.stream_id).model_id, arrays(60))
    assert drifting.stream()["baseline"] is None


def test_the_stored_baselines_of_a_stream_are_bounded(drifting: Drifting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_BASELINES", 2)
    draft = baselines.BaselineDraft("all", (drifting.started, drifting.started), arrays(10), "a test", "")
    with drifting.engine.begin() as connection:
        ids = [baselines.save(connection, drifting.stream_id, drifting.reference_id, draft).id for _ in range(3)]
        undone = [baselines.undo(connection, drifting.stream_id, "a test", drifting.started) for _ in range(3)]
    assert [baseline and baseline.id for baseline in undone] == [ids[2], ids[1], None]


@pytest.mark.parametrize("action", ["acknowledge", "mute", "accept", "deliver"])
def test_an_unknown_alert_is_a_problem(client: TestClient, action: str) -> None:
    answer = client.post(f"/alerts/{uuid4()}/{action}", json={"for": "1h"})
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")


def test_trying_out_receivers_needs_one(client: TestClient) -> None:
    answer = client.post("/alerts/test")
    assert answer.status_code == 409
    assert "TIDEMARK_WEBHOOK_URLS" in answer.json()["detail"]


@pytest.mark.parametrize("body", [None, {}])
def test_receivers_are_tried_out(serve: Callable[..., TestClient], body: Any) -> None:
    receivers = Settings(webhook_urls="http://127.0.0.1:9/a,slack+http://127.0.0.1:9/b").webhook_urls
    answer = serve(webhook_urls=receivers).post("/alerts/test", json=body)
    assert (answer.status_code, answer.json()) == (202, {"receivers": 2})


def test_only_an_admin_acts_and_the_key_is_recorded(serve: Callable[..., TestClient], engine: Engine, url: str) -> None:
    client = serve(api_keys=Settings(api_keys=SETTING).api_keys)
    admin, reader = ({"x-api-key": KEYS[scope]} for scope in ("admin", "read"))
    drifting = Drifting(client, engine, url)
    for action in ("acknowledge", "mute", "accept", "deliver"):
        assert drifting.post(action, {"for": "1h"}, headers=reader).status_code == 403
    assert client.post("/alerts/test", json={}, headers=reader).status_code == 403
    alert = drifting.post("acknowledge", {"note": "seen"}, headers=admin).json()
    digest = hashlib.sha256(KEYS["admin"].encode()).hexdigest()
    assert alert["acknowledged"]["by"] == f"key {digest[:8]} (admin)"
