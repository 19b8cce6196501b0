"""One incident is one alert: its events are numbered and arrive in order, and people can acknowledge and mute it."""

import asyncio
import json
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from procrastinate import App, PsycopgConnector
from sqlalchemy import Engine, text

from tests.support.alerts import REPORT, SECRET, work_until
from tests.support.incident import HOUR, NOW, Incident
from tests.support.receiver import Receiver
from tidemark.alerts import delivery, reminders
from tidemark.alerts.alert_draft import AlertChange
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.outbox import delivery_lock
from tidemark.alerts.queue import open_queue
from tidemark.setting_types import WebhookReceiver
from tidemark.store import alerts, deliveries
from tidemark.store.engine import conninfo


def test_the_events_of_an_incident_have_one_id_and_rising_numbers(incident: Callable[..., Incident]) -> None:
    one = incident(204)
    assert one.change(kind="label", certainty="sure", report=REPORT | {"summary": "Classes moved"})
    assert one.resolve()
    one.work_until_done()
    assert one.received_events[-1] == ("drift.resolved", 3)
    last = json.loads(one.hook.requests[-1][1])["data"]
    assert (last["alert_id"], last["kind"], last["resolution"]) == (str(one.id), "label", "recovered")
    assert [entry["event"] for entry in one.row.history] == ["drift.firing", "drift.changed", "drift.resolved"]
    assert one.row.history[1]["previous"]["kind"] == "covariate"


def test_a_change_tells_the_reason_and_what_was_before(incident: Callable[..., Incident]) -> None:
    one = incident(204)
    one.work_until_done()
    one.change("severity", severity="page")
    one.work_until_done()
    body = json.loads(one.hook.requests[-1][1])
    assert (body["type"], body["data"]["severity"], body["data"]["reason"]) == ("drift.changed", "page", "severity")
    assert body["data"]["previous"] == {"kind": "covariate", "certainty": "sure", "severity": "ticket"}


def test_nothing_is_delivered_after_the_end_while_a_receiver_comes_back(incident: Callable[..., Incident]) -> None:
    """The receiver fails; the incident ends before the second attempt at its opening event."""
    one = incident(503, 503, 204)
    work_until(one.engine, one.url, lambda: len(one.hook.requests) >= 1)
    one.resolve()
    one.work_until_done()
    assert one.received_events == [("drift.resolved", 2)]
    assert one.outcomes == ["superseded", "delivered"]


def test_events_that_wait_for_a_receiver_arrive_in_order(incident: Callable[..., Incident]) -> None:
    one = incident(503, 204)
    work_until(one.engine, one.url, lambda: len(one.hook.requests) == 1)
    one.change("certainty", certainty="likely")
    one.change("kind", kind="both")
    one.work_until_done()
    assert one.received_events == [("drift.firing", 1), ("drift.changed", 3)]
    assert one.outcomes == ["delivered", "superseded", "delivered"]


def test_a_slow_receiver_does_not_get_the_second_event_before_the_first(incident: Callable[..., Incident]) -> None:
    """Both jobs are in the queue and many workers are idle: the second one waits for the first."""
    one = incident(204)
    one.hook.delay = 0.3
    one.change("kind", kind="both")
    with one.engine.connect() as connection:
        first, second = connection.execute(text("SELECT lock FROM procrastinate_jobs")).scalars()
    assert first == second
    one.work_until_done()
    assert one.received_events == [("drift.firing", 1), ("drift.changed", 2)]


def test_an_incident_that_has_ended_neither_changes_nor_ends_again(incident: Callable[..., Incident]) -> None:
    one = incident(204)
    assert one.resolve("accepted")
    assert not one.resolve("recovered")
    assert not one.change(kind="label")
    assert (one.row.resolution, one.row.kind, one.row.sequence) == ("accepted", "covariate", 2)


def test_an_incident_that_comes_back_fires_under_its_id(incident: Callable[..., Incident]) -> None:
    one = incident(204)
    with one.engine.begin() as connection:
        one.alerts.acknowledge(connection, one.id, NOW, "key 1", "seen")
    one.work_until_done()
    one.resolve()
    one.work_until_done()
    with one.engine.begin() as connection:
        assert one.alerts.reopen(connection, one.id, NOW)
        assert not one.alerts.reopen(connection, one.id, NOW)
    one.work_until_done()
    assert one.received_events == [("drift.firing", 1), ("drift.resolved", 2), ("drift.firing", 3)]
    row = one.row
    assert (row.state, row.reopened, row.resolution, row.acknowledged_at) == ("firing", 1, None, None)


@pytest.mark.parametrize("handled", ["acknowledge", "mute"])
def test_alertmanager_is_reminded_of_an_incident_as_long_as_it_fires(
    incident: Callable[..., Incident], handled: str
) -> None:
    """It would resolve an incident that it does not hear of, also one that somebody takes care of."""
    one = incident(200, format="alertmanager")
    one.work_until_done()
    with one.engine.begin() as connection:
        if handled == "acknowledge":
            one.alerts.acknowledge(connection, one.id, NOW, "key 1", "")
        else:
            one.alerts.mute(connection, one.id, NOW, NOW + HOUR, "key 1")
    before = len(one.hook.requests)
    asyncio.run(reminders.remind(one.engine, one.id))
    assert len(one.hook.requests) == before + 1
    with one.engine.begin() as connection:
        one.alerts.resolve(connection, one.id, NOW)
    one.work_until_done()
    before = len(one.hook.requests)
    asyncio.run(reminders.remind(one.engine, one.id))
    assert len(one.hook.requests) == before


def test_the_periodic_reminder_waits_for_its_turn_among_the_events(incident: Callable[..., Incident]) -> None:
    """A reminder has the lock of the deliveries, so that none is posted after the end of an incident."""
    one = incident(200, format="alertmanager")
    one.work_until_done()

    async def remind() -> None:
        app = App(connector=PsycopgConnector(conninfo=conninfo(one.url), min_size=1, max_size=2))
        delivery.register(app, one.engine, SECRET)
        async with app.open_async():
            await app.tasks[reminders.REMIND_ALL].func(0)
            await app.tasks[reminders.REMIND_ALL].func(0)

    asyncio.run(remind())
    with one.engine.connect() as connection:
        locks = connection.execute(text("SELECT lock FROM procrastinate_jobs WHERE task_name = 'remind_of_alert'"))
        assert list(locks.scalars()) == [delivery_lock(one.id, one.hook.url)]
    one.resolve()
    before = len(one.hook.requests)
    work_until(one.engine, one.url, lambda: len(one.hook.requests) > before and "pending" not in one.outcomes)
    assert "endsAt" in json.loads(one.hook.requests[-1][1])[0]


def test_alertmanager_forgets_the_labels_that_an_incident_had_before(incident: Callable[..., Incident]) -> None:
    one = incident(200, format="alertmanager")
    one.work_until_done()
    one.change("kind", kind="label")
    one.work_until_done()
    old, new = json.loads(one.hook.requests[-1][1])
    assert (old["labels"]["kind"], "endsAt" in old) == ("covariate", True)
    assert (new["labels"]["kind"], "endsAt" in new) == ("label", False)


def test_a_test_event_goes_to_every_receiver_without_an_incident(
    engine: Engine, url: str, receiver: Callable[..., Receiver]
) -> None:
    hooks = [receiver(204), receiver(200), receiver(200)]
    formats = ["standard", "slack", "alertmanager"]
    receivers = [WebhookReceiver(url=hook.url, format=name) for hook, name in zip(hooks, formats, strict=True)]
    raiser = Alerts(open_queue(conninfo(url)), receivers, "http://tidemark.example")
    with engine.begin() as connection:
        assert raiser.test(connection, NOW, "key 1") == 3
    work_until(engine, url, lambda: all(hook.requests for hook in hooks))
    assert json.loads(hooks[0].requests[0][1])["type"] == "test"
    assert "webhook-signature" in hooks[0].requests[0][0]
    assert json.loads(hooks[2].requests[0][1])[0]["labels"] == {"alertname": "TidemarkTest"}
    with engine.connect() as connection:
        assert alerts.newest(connection) == []
        assert set(deliveries.outcomes(connection).values()) == {0}


def test_the_history_and_the_stored_test_events_are_bounded(
    incident: Callable[..., Incident], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "MAX_HISTORY", 5)
    monkeypatch.setattr(deliveries, "MAX_TESTS", 2)
    one = incident(204)
    for number in range(8):
        one.change("kind", kind=f"kind {number}")
        with one.engine.begin() as connection:
            one.alerts.test(connection, NOW + number * HOUR, "key 1")
    assert [entry["kind"] for entry in one.row.history] == [f"kind {number}" for number in range(3, 8)]
    with one.engine.connect() as connection:
        query = text("SELECT count(*) FROM deliveries WHERE alert_id IS NULL")
        assert connection.execute(query).scalar_one() == 2


def test_an_unknown_incident_is_not_changed(engine: Engine, url: str) -> None:
    raiser = Alerts(open_queue(conninfo(url)), [], "http://tidemark.example")
    unknown: UUID = uuid4()
    with engine.begin() as connection:
        assert not raiser.change(connection, unknown, AlertChange(NOW, "kind", kind="label"))
        assert not raiser.resolve(connection, unknown, NOW)
