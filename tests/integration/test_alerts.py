"""An alert's way out: in the window's transaction, signed, under one id, repeated until it is taken."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text
from standardwebhooks.webhooks import Webhook

from tests.support.alerts import SECRET, delivered, fire, work, work_until
from tests.support.receiver import Receiver
from tidemark.alerts import outbox
from tidemark.alerts.queue import open_queue
from tidemark.setting_types import WebhookReceiver
from tidemark.settings import Settings
from tidemark.store import alerts
from tidemark.store.engine import conninfo

LABELS = {"alertname": "TidemarkDrift", "stream": "m:1", "kind": "covariate", "severity": "ticket"}


def test_an_alert_is_signed_and_delivered(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    hook = receiver(204)
    fire(engine, url, stream_id, [WebhookReceiver(url=hook.url)])
    work(engine, url)
    [(headers, body)] = hook.requests
    data = Webhook(SECRET).verify(body, headers)
    assert data["type"] == "drift.firing"
    assert data["data"]["kind"] == "covariate"
    assert data["data"]["url"].startswith("http://tidemark.example/alerts/")
    assert delivered(engine) == [("delivered", 1, 204)]


def test_a_failed_delivery_is_repeated_under_the_same_id(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    hook = receiver(503, 204)
    fire(engine, url, stream_id, [WebhookReceiver(url=hook.url)])
    work_until(engine, url, lambda: delivered(engine) == [("delivered", 2, 204)])
    assert len({headers["webhook-id"] for headers, _ in hook.requests}) == 1


def test_a_rolled_back_window_sends_nothing(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    hook = receiver(204)
    fire(engine, url, stream_id, [WebhookReceiver(url=hook.url)], commit=False)
    work(engine, url)
    assert hook.requests == []


def test_redirects_are_not_followed_and_dead_receivers_do_not_hold_others_back(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    target, live = receiver(204), receiver(204)
    redirecting = receiver(302, headers={"location": target.url})
    dead = WebhookReceiver(url="http://127.0.0.1:1/hook")
    urls = [dead, WebhookReceiver(url=redirecting.url), WebhookReceiver(url=live.url)]
    fire(engine, url, stream_id, urls)
    work(engine, url)
    assert (len(target.requests), len(live.requests)) == (0, 1)
    assert {(outcome, status) for outcome, _, status in delivered(engine)} == {
        ("delivered", 204),
        ("pending", None),
        ("pending", 302),
    }


def test_after_a_day_it_is_failed_and_can_be_sent_again(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    hook = receiver(500, 204)
    fire(engine, url, stream_id, [WebhookReceiver(url=hook.url)])
    with engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET give_up_at = now()"))
    work(engine, url)
    assert delivered(engine) == [("failed", 1, 500)]
    with engine.begin() as connection:
        assert outbox.deliver_again(connection, open_queue(conninfo(url)), alerts.newest(connection)[0].id) == 1
    work(engine, url)
    assert delivered(engine) == [("delivered", 2, 204)]
    assert hook.requests[0][0]["webhook-id"] == hook.requests[1][0]["webhook-id"]


def test_other_formats_are_what_their_programs_read(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver]
) -> None:
    slack, manager = receiver(200), receiver(200)
    receivers = [
        WebhookReceiver(url=slack.url, format="slack"),
        WebhookReceiver(url=manager.url, format="alertmanager"),
    ]
    fire(engine, url, stream_id, receivers)
    work(engine, url)
    blocks = json.loads(slack.requests[0][1])
    assert blocks["blocks"][1]["text"]["text"] == "Images are darker &lt;than&gt; in training"
    [entry] = json.loads(manager.requests[0][1])
    assert entry["labels"] == LABELS
    assert "endsAt" not in entry


def test_settings_read_receivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_WEBHOOK_URLS", "http://a/x, slack+https://b/y,alertmanager+http://c/z")
    assert [(hook.format, hook.url) for hook in Settings.load().webhook_urls] == [
        ("standard", "http://a/x"),
        ("slack", "https://b/y"),
        ("alertmanager", "http://c/z"),
    ]
