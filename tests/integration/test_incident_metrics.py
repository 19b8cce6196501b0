"""The metrics of incidents: severity, and what people have made of them."""

import datetime as dt

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from tests.support.alerts import REPORT
from tidemark.alerts.alert_draft import AlertChange, AlertDraft
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.api.endpoints.drift_metrics import DriftCollector
from tidemark.api.endpoints.metrics import drift_exposition
from tidemark.store import models, streams
from tidemark.store.engine import conninfo

NOW = dt.datetime.now(dt.UTC)


def incidents(engine: Engine) -> dict[tuple[str, str, str], float]:
    """The open incidents by kind, severity and state."""
    families = text_string_to_metric_families(drift_exposition(DriftCollector(engine)).decode())
    return {
        (sample.labels["kind"], sample.labels["severity"], sample.labels["state"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "tidemark_incidents_open"
    }


def test_an_incident_is_new_until_somebody_acknowledges_or_mutes_it_and_gone_at_its_end(
    engine: Engine, url: str
) -> None:
    alerts = Alerts(open_queue(conninfo(url)), (), "http://x")
    with engine.begin() as connection:
        models.register(connection, "m", "1", "a" * 64, ["x", "y"])
        stream_id = streams.load_all(connection)[0].id
        alert_id = alerts.fire(connection, AlertDraft(stream_id, NOW, "covariate", NOW, 7, REPORT))
        alerts.fire(connection, AlertDraft(stream_id, NOW, "concept", NOW, 7, REPORT, severity="page"))
    concept = {("concept", "page", "new"): 1.0}
    assert incidents(engine) == concept | {("covariate", "ticket", "new"): 1.0}
    with engine.begin() as connection:
        alerts.acknowledge(connection, alert_id, NOW, "somebody", "")
    assert incidents(engine) == concept | {("covariate", "ticket", "acknowledged"): 1.0}
    with engine.begin() as connection:
        alerts.mute(connection, alert_id, NOW, NOW + dt.timedelta(hours=1), "somebody")
        alerts.change(connection, alert_id, AlertChange(NOW, "severity", severity="page"))
    assert incidents(engine) == concept | {("covariate", "page", "muted"): 1.0}
    with engine.begin() as connection:
        alerts.resolve(connection, alert_id, NOW)
    assert incidents(engine) == concept
