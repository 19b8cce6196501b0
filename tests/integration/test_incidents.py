"""One incident is one alert: its events are numbered and arrive in order, and people can acknowledge and mute it."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from procrastinate import App, PsycopgConnector
from sqlalchemy import Engine, insert, text

from tests.support.alerts import REPORT, SECRET, work_until
from tests.support.receiver import Receiver
from tidemark.alerts import delivery, reminders
from tidemark.alerts.alert_draft import AlertChange, AlertDraft
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.outbox import UNMUTE, delivery_lock
from tidemark.alerts.queue import open_queue
from tidemark.setting_types import WebhookReceiver
from tidemark.store import alerts, deliveries, streams, tables
from tidemark.store.engine import conninfo

NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)


class Incident:
    """An incident of one stream with one receiver, and the events that this receiver got."""

    def __init__(self, engine: Engine, url: str, stream_id: int, hook: Receiver, format: str = "standard") -> None:
        self.engine, self.url, self.hook = engine, url, hook
        receivers = [WebhookReceiver(url=hook.url, format=format)]
        self.alerts = Alerts(open_queue(conninfo(url)), receivers, "http://tidemark.example")
        with engine.begin() as connection:
            self.id = self.alerts.fire(connection, AlertDraft(stream_id, NOW, "covariate", NOW, 7, REPORT))

    def change(self, reason: Any = "kind", **values: Any) -> bool:
        with self.engine.begin() as connection:
            return self.alerts.change(connection, self.id, AlertChange(NOW, reason, **values))

    def resolve(self, resolution: Any = "recovered") -> bool:
        with self.engine.begin() as connection:
            return self.alerts.resolve(connection, self.id, NOW, resolution)

    def mute(self, until: dt.datetime) -> None:
        with self.engine.begin() as connection:
            self.alerts.mute(connection, self.id, NOW, until, "key 1")

    @property
    def row(self) -> alerts.AlertRow:
        with self.engine.connect() as connection:
            row = alerts.get(connection, self.id)
        assert row is not None
        return row

    @property
    def outcomes(self) -> list[str]:
        with self.engine.connect() as connection:
            return [sent.outcome for sent in deliveries.of_alerts(connection, [self.id])]

    @property
    def taken(self) -> list[tuple[str, int]]:
        """The type and number of each event that the receiver accepted."""
        bodies = [json.loads(body) for _, body in self.hook.accepted]
        return [(body["type"], body["data"]["sequence"]) for body in bodies]

    def work_until_done(self) -> None:
        work_until(self.engine, self.url, lambda: "pending" not in self.outcomes)


@pytest.fixture
def incident(engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]) -> Callable[..., Incident]:
    return lambda *statuses, **options: Incident(engine, url, stream_id, receiver(*statuses), **options)


def test_the_events_of_an_incident_have_one_id_and_rising_numbers(incident: Callable[..., Incident]) -> None:
    one = incident(204)
    assert one.change(kind="label", certainty="sure", report=REPORT | {"summary": "Classes moved"})
    assert one.resolve()
    one.work_until_done()
    assert one.taken[-1] == ("drift.resolved", 3)
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
    assert one.taken == [("drift.resolved", 2)]
    assert one.outcomes == ["superseded", "delivered"]


def test_events_that_wait_for_a_receiver_arrive_in_order(incident: Callable[..., Incident]) -> None:
    one = incident(503, 204)
    work_until(one.engine, one.url, lambda: len(one.hook.requests) == 1)
    one.change("certainty", certainty="likely")
    one.change("kind", kind="both")
    one.work_until_done()
    assert one.taken == [("drift.firing", 1), ("drift.changed", 3)]
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
    assert one.taken == [("drift.firing", 1), ("drift.changed", 2)]


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
    assert one.taken == [("drift.firing", 1), ("drift.resolved", 2), ("drift.firing", 3)]
    row = one.row
    assert (row.state, row.reopened, row.resolution, row.acknowledged_at) == ("firing", 1, None, None)


def test_a_muted_incident_sends_its_end_and_a_rise_of_severity_only(incident: Callable[..., Incident]) -> None:
    one = incident(204)
    one.work_until_done()
    one.mute(NOW + HOUR)
    one.change("kind", kind="both")
    one.change("severity", severity="page")
    one.work_until_done()
    one.change("severity", severity="ticket")
    one.resolve()
    one.work_until_done()
    assert [number for _, number in one.taken] == [1, 3, 5]
    assert one.outcomes == ["delivered", "muted", "delivered", "muted", "delivered"]


def test_a_mute_holds_back_what_waits_for_its_receiver(incident: Callable[..., Incident]) -> None:
    one = incident(503, 204)
    work_until(one.engine, one.url, lambda: len(one.hook.requests) == 1)
    one.mute(NOW + HOUR)
    one.work_until_done()
    assert one.taken == []
    assert one.outcomes == ["muted"]


def test_what_was_held_back_is_sent_when_the_mute_is_undone(incident: Callable[..., Incident]) -> None:
    one = incident(204)
    one.work_until_done()
    one.mute(NOW + HOUR)
    one.change("kind", kind="both")
    one.change("kind", kind="label")
    one.mute(NOW)
    one.work_until_done()
    assert one.taken == [("drift.firing", 1), ("drift.changed", 3)]
    assert one.row.muted_until is None
    assert [entry["event"] for entry in one.row.history][-1] == "unmuted"


def test_what_was_held_back_is_sent_when_the_mute_is_over(incident: Callable[..., Incident]) -> None:
    one = incident(204)
    one.work_until_done()
    one.mute(NOW + HOUR)
    one.change("kind", kind="both")
    assert one.outcomes == ["delivered", "muted"]
    with one.engine.begin() as connection:  # an hour later
        connection.execute(text("UPDATE alerts SET muted_until = now()"))
        due = text("UPDATE procrastinate_jobs SET scheduled_at = now() WHERE task_name = :name")
        connection.execute(due, {"name": UNMUTE})
    work_until(one.engine, one.url, lambda: one.outcomes == ["delivered", "delivered"])
    with one.engine.connect() as connection:
        jobs = connection.execute(
            text("SELECT count(*) FROM procrastinate_jobs WHERE task_name = :name"), {"name": UNMUTE}
        )
    assert jobs.scalar_one() == 0


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


def test_the_history_and_the_kept_tests_are_bounded(
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
    assert whole.taken == [("drift.resolved", 2)]


def test_an_incident_of_a_slice_alone_is_told(incident: Callable[..., Incident], camera: int) -> None:
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


def test_an_unknown_incident_is_not_changed(engine: Engine, url: str) -> None:
    raiser = Alerts(open_queue(conninfo(url)), [], "http://tidemark.example")
    unknown: UUID = uuid4()
    with engine.begin() as connection:
        assert not raiser.change(connection, unknown, AlertChange(NOW, "kind", kind="label"))
        assert not raiser.resolve(connection, unknown, NOW)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_RETRY", 0.01)
