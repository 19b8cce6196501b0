"""Incidents of a slice are part of that of the whole model while there is one."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, insert

from tests.support.alerts import REPORT, work_until
from tests.support.incident import NOW, Incident
from tidemark.alerts.alert_draft import AlertDraft
from tidemark.store import alerts, streams, tables


@pytest.fixture
def camera(engine: Engine, stream_id: int) -> int:
    """The stream of a slice of the model."""
    with engine.begin() as connection:
        model_id = streams.get(connection, stream_id).model_id
        statement = insert(tables.streams).values(model_id=model_id, slice="camera=7").returning(tables.streams.c.id)
        return int(connection.execute(statement).scalar_one())


def test_an_incident_of_a_slice_is_part_of_that_of_its_model_until_that_ends(
    incident: Callable[..., Incident], camera: int
) -> None:
    whole = incident(204)
    part = Incident(whole.engine, whole.url, camera, whole.hook)
    whole.work_until_done()
    assert (part.row.parent_id, part.outcomes) == (whole.id, ["muted"])
    assert len(whole.hook.requests) == 1
    whole.resolve()
    work_until(whole.engine, whole.url, lambda: len(whole.hook.requests) == 3)
    events = [json.loads(body) for _, body in whole.hook.requests[1:]]  # of two incidents, which have no order
    assert {(event["type"], event["data"]["stream"]) for event in events} == {
        ("drift.resolved", "m:1"),
        ("drift.firing", "m:1/camera=7"),
    }
    assert part.row.parent_id is None


def test_an_incident_of_a_slice_that_ends_with_that_of_its_model_stays_silent(
    incident: Callable[..., Incident], camera: int
) -> None:
    whole = incident(204)
    part = Incident(whole.engine, whole.url, camera, whole.hook)
    part.resolve()
    whole.resolve()
    whole.work_until_done()
    assert part.outcomes == ["muted", "muted"]
    assert whole.received_events == [("drift.resolved", 2)]


def test_an_incident_of_a_slice_alone_is_delivered(incident: Callable[..., Incident], camera: int) -> None:
    whole = incident(204)
    with whole.engine.begin() as connection:
        concept = whole.alerts.fire(connection, AlertDraft(camera, NOW, "concept", NOW, 7, REPORT))
        row = alerts.get(connection, concept)
    assert row is not None
    assert row.parent_id is None
    whole.resolve()
    part = Incident(whole.engine, whole.url, camera, whole.hook)
    part.work_until_done()
    assert part.outcomes == ["delivered"]
