"""Our alerts in a real Alertmanager: there while they fire, kept alive by reminders, gone when they resolve."""

import asyncio
import datetime as dt
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from tests.support.alerts import REPORT, work
from tests.support.wait import until
from tidemark.alerts import delivery
from tidemark.alerts.alert_draft import AlertDraft
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.settings import WebhookReceiver
from tidemark.store import alerts, models, streams
from tidemark.store.engine import conninfo

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
NOW = dt.datetime.now(dt.UTC)
LABELS = {"alertname": "TidemarkDrift", "stream": "m:1", "kind": "covariate", "severity": "ticket"}
CONFIG = "global: {resolve_timeout: 3s}\nroute: {receiver: nobody}\nreceivers: [{name: nobody}]\n"

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Alertmanager is not installed")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[str]:
    """The address of an Alertmanager that forgets after 3 seconds what it does not hear of."""
    (tmp_path / "config.yml").write_text(CONFIG)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = [f"--config.file={tmp_path}/config.yml", f"--storage.path={tmp_path}/data"]
    listening = [f"--web.listen-address={address}", "--cluster.listen-address="]
    process = subprocess.Popen([str(PROGRAM), *arguments, *listening], stderr=subprocess.DEVNULL)
    until(lambda: httpx.get(f"http://{address}/-/ready").status_code == 200, "Alertmanager", not_yet=httpx.HTTPError)
    yield f"http://{address}"
    process.terminate()
    process.wait()


def active(manager: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{manager}/api/v2/alerts", params={"active": "true"}).json()
    return found


class Fired:
    """An alert that was raised and delivered."""

    def __init__(self, engine: Engine, url: str, manager: str) -> None:
        receiver = WebhookReceiver(url=f"{manager}/api/v2/alerts", format="alertmanager")
        self.alerts = Alerts(open_queue(conninfo(url)), [receiver], "http://tidemark.example")
        with engine.begin() as connection:
            models.register(connection, "m", "1", "a" * 64, ["x", "y"])
            stream = streams.every(connection)[0]
            self.id = self.alerts.fire(connection, AlertDraft(stream.id, NOW, "covariate", NOW, 7, REPORT))
        work(engine, url)


def test_an_alert_shows_is_kept_and_resolves(engine: Engine, url: str, manager: str) -> None:
    fired = Fired(engine, url, manager)
    (shown,) = active(manager)
    assert shown["labels"] == LABELS
    assert shown["annotations"]["summary"] == REPORT["summary"]
    for _ in range(3):
        time.sleep(1.5)
        asyncio.run(delivery.remind(engine, fired.id))
    assert len(active(manager)) == 1
    with engine.begin() as connection:
        fired.alerts.resolve(connection, fired.id, dt.datetime.now(dt.UTC))
    work(engine, url)
    until(lambda: not active(manager), "the alert to end")
    with engine.connect() as connection:
        assert alerts.due_reminders(connection, "alertmanager") == []


def test_without_reminders_it_would_have_been_gone(engine: Engine, url: str, manager: str) -> None:
    Fired(engine, url, manager)
    assert len(active(manager)) == 1
    until(lambda: not active(manager), "the alert to end")
