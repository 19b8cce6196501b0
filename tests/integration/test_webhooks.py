"""Receivers that misbehave: each is tried again in its own time, none holds another back, no secret gets out."""

import datetime as dt
import logging
import threading
from collections.abc import Callable
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pytest
from sqlalchemy import Engine, text

from tests.support.alerts import SECRET, delivered, fire, work_until
from tests.support.receiver import Receiver
from tests.support.wait import PATIENCE
from tests.support.worlds import World
from tidemark.alerts import delivery, outbox, webhook_transport
from tidemark.alerts.delivery import BackOff, DeliveryFailed
from tidemark.alerts.queue import open_queue
from tidemark.alerts.schemas import Alert
from tidemark.drift import WindowTest
from tidemark.errors import ConfigurationError
from tidemark.monitor.stored_report import StoredReport
from tidemark.setting_types import WebhookReceiver
from tidemark.settings import Settings
from tidemark.store import alerts, deliveries
from tidemark.store.engine import conninfo

WORLD = World()
JOB = cast("Any", SimpleNamespace(attempts=0))


def waits(engine: Engine) -> list[float]:
    """Seconds until each job of the queue is due."""
    with engine.connect() as connection:
        query = "SELECT extract(epoch FROM scheduled_at - now()) FROM procrastinate_jobs WHERE task_name = 'deliver'"
        return [float(wait) for wait in connection.execute(text(query)).scalars() if wait is not None]


def hooks(*receivers: Receiver) -> list[WebhookReceiver]:
    return [WebhookReceiver(url=each.url) for each in receivers]


def test_many_that_hang_hold_no_thread_and_delay_nobody(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, live = [receiver(hang=True) for _ in range(20)], receiver(204)
    monkeypatch.setattr(webhook_transport, "TIMEOUT", 1000 * PATIENCE)
    fire(engine, url, stream_id, hooks(*hanging, live))
    threads: set[str] = set()

    def all_were_asked() -> bool:
        threads.update(t.name for t in threading.enumerate() if t.name.startswith("deliveries"))
        return all(hook.requests for hook in hanging) and ("delivered", 1, 204) in delivered(engine)

    work_until(engine, url, all_were_asked)
    assert len(threads) <= 2


@pytest.mark.parametrize("options", [{"hang": True}, {"drip": 0.1}])
def test_an_attempt_ends_in_time_however_slowly_the_answer_comes(
    engine: Engine,
    url: str,
    stream_id: int,
    receiver: Callable[..., Receiver],
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook_transport, "TIMEOUT", 0.5)
    fire(engine, url, stream_id, hooks(receiver(204, **options)))
    work_until(engine, url, lambda: delivered(engine)[0][1] >= 1)
    [(outcome, _, status)] = delivered(engine)
    assert (outcome, status) == ("pending", None)


def test_a_webhook_names_the_method_of_the_estimated_accuracy(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    hook = receiver(204)
    reference = WORLD.reference(1000, np.random.default_rng(0))
    window = WORLD.traffic(300, np.random.default_rng(1), noise=2.0)
    report = StoredReport(WindowTest(reference, window_size=300)(**window), 1, (), {}, ()).to_json()
    fire(engine, url, stream_id, hooks(hook), report=report)
    work_until(engine, url, lambda: bool(hook.accepted))
    data = orjson.loads(hook.accepted[0][1])["data"]
    performance = data["report"]["performance"]
    assert performance["method"] == "unknown"
    assert performance["interval_level"] == 0.95
    assert performance["low"] < performance["estimated_accuracy"] < performance["high"]
    assert data["summary"].endswith("→ unknown: label 50 images")


def test_a_receiver_that_was_down_gets_it_when_it_is_back_under_one_id(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    hook = receiver(500, 429, 502, 204)
    fire(engine, url, stream_id, hooks(hook))
    work_until(engine, url, lambda: delivered(engine) == [("delivered", 4, 204)])
    assert len({headers["webhook-id"] for headers, _ in hook.requests}) == 1


@pytest.mark.parametrize(("asked", "seconds"), [(1800, 1800), (86_400, webhook_transport.MAX_RETRY_AFTER)])
@pytest.mark.parametrize("as_date", [False, True])
def test_a_retry_after_is_honoured_in_both_its_forms_up_to_a_bound(
    engine: Engine,
    url: str,
    stream_id: int,
    receiver: Callable[..., Receiver],
    as_date: bool,
    asked: int,
    seconds: float,
) -> None:
    later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=asked)
    value = format_datetime(later, usegmt=True) if as_date else str(asked)
    fire(engine, url, stream_id, hooks(receiver(429, headers={"retry-after": value})))
    work_until(engine, url, lambda: bool(waits(engine)))
    [wait] = waits(engine)
    assert seconds - 100 < wait <= seconds * (1 + delivery.JITTER) + 1


def test_the_back_off_doubles_to_a_bound_and_is_jittered() -> None:
    def seconds(attempts: int, error: Exception) -> float:
        job = cast("Any", SimpleNamespace(attempts=attempts))
        decision = BackOff().get_retry_decision(exception=error, job=job)
        assert decision is not None
        assert decision.retry_at is not None
        return (decision.retry_at - dt.datetime.now(dt.UTC)).total_seconds()

    refused = DeliveryFailed("HTTP 503")
    for attempts in range(12):
        full = min(2.0**attempts, delivery.MAX_RETRY)
        delays = [seconds(attempts, refused) for _ in range(40)]
        assert full / 2 - 1 <= min(delays) <= max(delays) <= full + 1
        assert full < 8 or max(delays) - min(delays) > full / 8
    waits = [seconds(0, DeliveryFailed("HTTP 429", 600.0)) for _ in range(40)]
    assert 599 <= min(waits) < max(waits) <= 600 * (1 + delivery.JITTER) + 1
    assert BackOff().get_retry_decision(exception=ZeroDivisionError(), job=JOB) is None


def test_it_is_tried_until_its_time_is_over_then_failed_then_delivered_again(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    hook = receiver(503)
    fire(engine, url, stream_id, hooks(hook))
    work_until(engine, url, lambda: delivered(engine)[0][1] >= 2)
    assert delivered(engine)[0][0] == "pending"
    with engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET give_up_at = now()"))
    work_until(engine, url, lambda: delivered(engine)[0][0] == "failed")
    attempts = delivered(engine)[0][1]
    hook._statuses[:] = [204]
    with engine.begin() as connection:
        outbox.deliver_again(connection, open_queue(conninfo(url)), alerts.newest(connection)[0].id)
    work_until(engine, url, lambda: delivered(engine) == [("delivered", attempts + 1, 204)])


def test_a_database_that_breaks_during_an_attempt_does_not_lose_the_alert(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    hook = receiver(204)
    fire(engine, url, stream_id, hooks(hook))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE deliveries RENAME TO elsewhere"))
    work_until(engine, url, lambda: bool(waits(engine)))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO deliveries"))
    work_until(engine, url, lambda: delivered(engine) == [("delivered", 1, 204)])


def test_a_stop_in_the_middle_of_an_attempt_does_not_lose_the_alert(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    hook = receiver(204, hang=True)
    fire(engine, url, stream_id, hooks(hook))
    work_until(engine, url, lambda: bool(hook.requests))
    assert len(waits(engine)) == 1
    assert delivered(engine) == [("pending", 0, None)]


def test_no_secret_reaches_a_log_or_the_answer(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    live, refusing = receiver(204), receiver(500)
    tokens = ["sesame", "T0K3N", "qu3ry"]
    token = "http://user:sesame@{}/services/T0K3N?key=qu3ry".format
    addresses = [hook.url.removeprefix("http://").removesuffix("/hook") for hook in (live, refusing)]
    receivers = [WebhookReceiver(url=token(each)) for each in [*addresses, "127.0.0.1:1", "no.invalid", "a" * 70]]
    fire(engine, url, stream_id, receivers)
    work_until(engine, url, lambda: all(attempts for _, attempts, _ in delivered(engine)))
    with engine.connect() as connection:
        [row] = alerts.newest(connection)
        delivery_rows = deliveries.of_alerts(connection, [row.id])
        answer = Alert.with_deliveries(row, delivery_rows, "http://tidemark.example", dt.datetime.now(dt.UTC))
        locks = connection.execute(text("SELECT lock FROM procrastinate_jobs")).scalars().all()
    assert answer.deliveries[0].url == f"http://{addresses[0]}/…"
    everything = caplog.text + answer.model_dump_json() + str(locks) + str(receivers)
    assert not [secret for secret in [*tokens, SECRET, SECRET.removeprefix("whsec_")] if secret in everything]


@pytest.mark.parametrize("value", ["slack+hooks.example/T0K3N", "http://", "https://[T0K3N", "http://h:99999/T0K3N"])
def test_a_bad_receiver_is_named_by_its_place(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TIDEMARK_WEBHOOK_URLS", f"http://127.0.0.1:9/x,{value}")
    with pytest.raises(ConfigurationError, match="entry 2") as error:
        Settings.load()
    assert "T0K3N" not in str(error.value)
