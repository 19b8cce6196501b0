"""Our alerts in a real Alertmanager: there while they fire, kept alive by reminders, gone when they resolve."""

import asyncio
import datetime as dt
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from tests.support.alerts import REPORT, work
from tests.support.processes import free_port
from tests.support.receiver import Receiver
from tests.support.wait import PATIENCE, until
from tidemark.alerts import reminders
from tidemark.alerts.alert_draft import AlertDraft
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.setting_types import WebhookReceiver
from tidemark.store import deliveries, models, streams
from tidemark.store.engine import conninfo

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
ROOT = Path(__file__).parents[2]
NOW = dt.datetime.now(dt.UTC)
LABELS = {"alertname": "TidemarkDrift", "stream": "m:1", "kind": "covariate", "severity": "ticket"}
CONFIG = """
global: {resolve_timeout: TIMEOUT}
route: {receiver: pager, group_wait: 0s, group_interval: 1s, repeat_interval: 1s}
receivers: [{name: pager, webhook_configs: [{url: "PAGER", send_resolved: true}]}]
"""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Alertmanager is not installed")


@pytest.fixture
def pager() -> Iterator[Receiver]:
    """Who Alertmanager notifies, again and again while an alert is active."""
    receiver = Receiver(200)
    yield receiver
    receiver.close()


@pytest.fixture
def manager(tmp_path: Path, pager: Receiver) -> Iterator[str]:
    """The address of an Alertmanager that forgets after 3 seconds what it does not hear of."""
    with running(tmp_path, pager, "3s") as address:
        yield address


@pytest.fixture
def patient_manager(tmp_path: Path, pager: Receiver) -> Iterator[str]:
    """The address of an Alertmanager that forgets nothing within a test."""
    with running(tmp_path, pager, "10m") as address:
        yield address


@contextmanager
def running(tmp_path: Path, pager: Receiver, timeout: str) -> Iterator[str]:
    (tmp_path / "config.yml").write_text(CONFIG.replace("PAGER", pager.url).replace("TIMEOUT", timeout))
    with started(tmp_path) as address:
        yield address


@contextmanager
def started(folder: Path) -> Iterator[str]:
    """The address of an Alertmanager with the `config.yml` of a folder."""
    address = f"127.0.0.1:{free_port()}"
    arguments = [f"--config.file={folder}/config.yml", f"--storage.path={folder}/data"]
    listening = [f"--web.listen-address={address}", "--cluster.listen-address="]
    process = subprocess.Popen([str(PROGRAM), *arguments, *listening], stderr=subprocess.DEVNULL)
    try:
        until(
            lambda: httpx.get(f"http://{address}/-/ready").status_code == 200, "Alertmanager", not_yet=httpx.HTTPError
        )
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def active(manager: str) -> list[dict[str, Any]]:
    firing: list[dict[str, Any]] = httpx.get(
        f"{manager}/api/v2/alerts", params={"active": "true"}, timeout=PATIENCE
    ).json()
    return firing


class Fired:
    """An alert that was raised and delivered."""

    def __init__(self, engine: Engine, url: str, manager: str) -> None:
        receiver = WebhookReceiver(url=f"{manager}/api/v2/alerts", format="alertmanager")
        self.alerts = Alerts(open_queue(conninfo(url)), [receiver], "http://tidemark.example")
        with engine.begin() as connection:
            models.register(connection, "m", "1", "a" * 64, ["x", "y"])
            stream = streams.load_all(connection)[0]
            self.id = self.alerts.fire(connection, AlertDraft(stream.id, NOW, "covariate", NOW, 7, REPORT))
        work(engine, url)


def test_an_alert_shows_lasts_longer_with_each_reminder_and_resolves(
    engine: Engine, url: str, patient_manager: str
) -> None:
    fired = Fired(engine, url, patient_manager)
    (alert,) = active(patient_manager)
    assert alert["labels"] == LABELS
    assert alert["annotations"]["summary"] == REPORT["summary"]
    for _ in range(3):
        prolong(engine, fired, patient_manager)
    with engine.begin() as connection:
        fired.alerts.resolve(connection, fired.id, dt.datetime.now(dt.UTC))
    work(engine, url)
    until(lambda: not active(patient_manager), "the alert to end")
    with engine.connect() as connection:
        assert deliveries.due_reminders(connection, "alertmanager") == []


def end_of_alert(manager: str) -> str:
    """When the one alert ends by itself, unless Alertmanager hears of it again."""
    (alert,) = active(manager)
    return str(alert["endsAt"])


def prolong(engine: Engine, fired: Fired, manager: str) -> None:
    """Remind Alertmanager of the alert, and wait until it lasts longer."""
    end = end_of_alert(manager)
    asyncio.run(reminders.remind(engine, fired.id))
    until(lambda: end_of_alert(manager) > end, "a later end")


def statuses(pager: Receiver) -> list[str]:
    """The notifications of the alert that the pager received, in order."""
    return [json.loads(body)["status"] for _, body in list(pager.requests)]


@pytest.mark.parametrize("handled", ["acknowledge", "mute"])
def test_an_incident_that_somebody_takes_care_of_stays_without_further_notifications(
    engine: Engine, url: str, patient_manager: str, pager: Receiver, handled: str
) -> None:
    fired = Fired(engine, url, patient_manager)
    until(lambda: len(statuses(pager)) >= 2, "Alertmanager to repeat itself")
    now = dt.datetime.now(dt.UTC)
    with engine.begin() as connection:
        if handled == "acknowledge":
            fired.alerts.acknowledge(connection, fired.id, now, "somebody", "on it")
        else:
            fired.alerts.mute(connection, fired.id, now, now + dt.timedelta(hours=1), "somebody")
    work(engine, url)
    until(lambda: suppressed(patient_manager), "the silence")
    before = len(statuses(pager))
    time.sleep(2.5)  # longer than Alertmanager waits before it repeats itself
    assert len(statuses(pager)) <= before + 1  # one may have been on its way
    prolong(engine, fired, patient_manager)
    assert len(in_force(patient_manager)) == 1
    assert "resolved" not in statuses(pager)
    with engine.begin() as connection:
        fired.alerts.resolve(connection, fired.id, dt.datetime.now(dt.UTC))
    work(engine, url)
    until(lambda: statuses(pager)[-1] == "resolved", "the end of the incident")
    assert in_force(patient_manager) == []


def test_an_incident_that_is_no_longer_muted_is_notified_again(
    engine: Engine, url: str, patient_manager: str, pager: Receiver
) -> None:
    fired = Fired(engine, url, patient_manager)
    now = dt.datetime.now(dt.UTC)
    with engine.begin() as connection:
        fired.alerts.mute(connection, fired.id, now, now + dt.timedelta(hours=1), "somebody")
    work(engine, url)
    until(lambda: suppressed(patient_manager), "the silence")
    with engine.begin() as connection:
        fired.alerts.mute(connection, fired.id, now, now, "somebody")
    work(engine, url)
    until(lambda: not suppressed(patient_manager), "the end of the silence")
    before = len(statuses(pager))
    until(lambda: len(statuses(pager)) > before, "a further notification")


def in_force(manager: str) -> list[dict[str, Any]]:
    """The silences that hold."""
    silences: list[dict[str, Any]] = httpx.get(f"{manager}/api/v2/silences", timeout=PATIENCE).json()
    return [silence for silence in silences if silence["status"]["state"] == "active"]


def suppressed(manager: str) -> bool:
    return [alert["status"]["state"] for alert in active(manager)] == ["suppressed"]


def test_without_reminders_it_ends_by_itself(engine: Engine, url: str, manager: str, pager: Receiver) -> None:
    Fired(engine, url, manager)
    until(lambda: statuses(pager), "the notification")
    assert statuses(pager)[0] == "firing"
    until(lambda: not active(manager), "the alert to end")


def test_the_shipped_configuration_holds_back_drift_that_somebody_takes_care_of(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docker/alertmanager/alertmanager.yml", tmp_path / "config.yml")
    drift = {"alertname": "TidemarkDriftDetected", "model": "m", "version": "1", "slice": "", "kind": "label"}
    with started(tmp_path) as manager:
        post(manager, drift, drift | {"kind": "concept"})
        assert states(manager) == {
            ("TidemarkDriftDetected", "label"): "active",
            ("TidemarkDriftDetected", "concept"): "active",
        }
        post(manager, drift | {"alertname": "TidemarkDriftHandled"})
        until(lambda: states(manager)["TidemarkDriftDetected", "label"] == "suppressed", "the inhibition")
        assert states(manager)["TidemarkDriftDetected", "concept"] == "active"


def post(manager: str, *labels: dict[str, str]) -> None:
    httpx.post(
        f"{manager}/api/v2/alerts", json=[{"labels": each} for each in labels], timeout=PATIENCE
    ).raise_for_status()


def states(manager: str) -> dict[tuple[str, str], str]:
    """The state of each alert by its name and kind, once Alertmanager has processed all."""
    until(
        lambda: all(alert["status"]["state"] != "unprocessed" for alert in active(manager)),
        "all alerts to be processed",
    )
    alerts = httpx.get(f"{manager}/api/v2/alerts", timeout=PATIENCE).json()
    return {(alert["labels"]["alertname"], alert["labels"]["kind"]): alert["status"]["state"] for alert in alerts}
