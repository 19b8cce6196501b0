"""Alertmanager cannot be told that an incident goes on, or that somebody takes care of it: page and metric say so."""

import asyncio
import datetime as dt
from collections.abc import Callable

from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from tests.support.incident import Incident
from tests.support.receiver import Receiver
from tidemark.alerts import reminders
from tidemark.api.endpoints.drift_metrics import DriftCollector


def failing(engine: Engine) -> float | None:
    registry = CollectorRegistry()
    registry.register(DriftCollector(engine))
    return registry.get_sample_value("tidemark_alert_reminders_failing")


def test_an_alert_that_is_not_silenced_says_so_until_it_ends(
    client: TestClient, engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    """Alertmanager takes the alert and refuses its silences."""
    hook = receiver(200)
    hook.url = hook.url.replace("/hook", "/api/v2/alerts")
    one = Incident(engine, url, stream_id, hook, format="alertmanager")
    one.work_until_done()
    assert failing(engine) == 0
    assert "did not silence it" not in client.get(f"/alerts/{one.id}/page").text
    with engine.begin() as connection:
        one.alerts.acknowledge(connection, one.id, dt.datetime.now(dt.UTC), "key 1", "")
    asyncio.run(reminders.remind(engine, one.id))
    page = client.get(f"/alerts/{one.id}/page").text
    assert "<strong>Alertmanager did not silence it: HTTP 501" in page
    assert failing(engine) == 1
    assert len(hook.accepted) == 2
    one.resolve()
    one.work_until_done()
    assert failing(engine) == 0
    assert "Alertmanager did not end its silence" in client.get(f"/alerts/{one.id}/page").text


def test_a_reminder_that_failed_counts_until_the_next_one_is_taken(
    client: TestClient, engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    one = Incident(engine, url, stream_id, receiver(200, 500, 200), format="alertmanager")
    one.work_until_done()
    asyncio.run(reminders.remind(engine, one.id))
    assert failing(engine) == 1
    assert "<strong>Alertmanager was not reminded: " in client.get(f"/alerts/{one.id}/page").text
    asyncio.run(reminders.remind(engine, one.id))
    assert failing(engine) == 0
    assert "was not reminded" not in client.get(f"/alerts/{one.id}/page").text
