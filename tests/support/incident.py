"""An incident of one stream on a real Postgres, with the receiver of its events."""

import datetime as dt
import json
from typing import Any

from sqlalchemy import Engine

from tests.support.alerts import REPORT, work_until
from tests.support.receiver import Receiver
from tidemark.alerts.alert_draft import AlertChange, AlertDraft
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.setting_types import WebhookReceiver
from tidemark.store import alerts, deliveries
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
    def received_events(self) -> list[tuple[str, int]]:
        """The type and number of each event that the receiver accepted."""
        bodies = [json.loads(body) for _, body in self.hook.accepted]
        return [(body["type"], body["data"]["sequence"]) for body in bodies]

    def work_until_done(self) -> None:
        work_until(self.engine, self.url, lambda: "pending" not in self.outcomes)
