"""A muted incident: which events are sent all the same, and when the others are."""

from collections.abc import Callable

from sqlalchemy import text

from tests.support.alerts import work_until
from tests.support.incident import HOUR, NOW, Incident
from tidemark.alerts.outbox import UNMUTE


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
    assert [number for _, number in one.received_events] == [1, 3, 5]
    assert one.outcomes == ["delivered", "muted", "delivered", "muted", "delivered"]


def test_a_mute_holds_back_what_waits_for_its_receiver(incident: Callable[..., Incident]) -> None:
    one = incident(503, 204)
    work_until(one.engine, one.url, lambda: len(one.hook.requests) == 1)
    one.mute(NOW + HOUR)
    one.work_until_done()
    assert one.received_events == []
    assert one.outcomes == ["muted"]


def test_muted_events_are_sent_when_the_mute_is_undone(incident: Callable[..., Incident]) -> None:
    one = incident(204)
    one.work_until_done()
    one.mute(NOW + HOUR)
    one.change("kind", kind="both")
    one.change("kind", kind="label")
    one.mute(NOW)
    one.work_until_done()
    assert one.received_events == [("drift.firing", 1), ("drift.changed", 3)]
    assert one.row.muted_until is None
    assert [entry["event"] for entry in one.row.history][-1] == "unmuted"


def test_muted_events_are_sent_when_the_mute_ends(incident: Callable[..., Incident]) -> None:
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
