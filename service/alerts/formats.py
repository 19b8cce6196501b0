"""The bodies that receivers are sent: the same event in the dialects of three kinds of program."""

import datetime as dt
from collections.abc import Mapping, Sequence

import orjson

from .alert_draft import CHANGED, FIRING, RESOLVED, TEST
from .event_data import AlertEventData, TestEventData

Body = Mapping[str, object] | Sequence[Mapping[str, object]]  # JSON of the receiver's own schema

MAX_SECTION = 600  # characters of a summary; escaped they are fewer than Slack's 3,000
MAX_TITLE = 150  # characters that Slack accepts in a header
STATES = {FIRING: "firing", CHANGED: "changed", RESOLVED: "resolved"}
TEST_SUMMARY = "This is a test of the receiver. No stream drifts because of it."


def standard(event: str, at: dt.datetime, alert: AlertEventData) -> Body:
    """Return the body of the Standard Webhooks format (standardwebhooks.com): type, timestamp, data."""
    return {"type": event, "timestamp": at.isoformat(), "data": alert}


def slack(event: str, at: dt.datetime, alert: AlertEventData) -> Body:
    """Return a Slack message (Block Kit) with a plain-text fallback."""
    state = STATES[event] if event != RESOLVED else f"resolved ({alert['resolution']})"
    title = f"{alert['stream']}: {alert['kind']} shift {state}"
    if alert["severity"] == "page" and event != RESOLVED:
        title = f"PAGE {title}"
    return {
        "text": _escaped(f"{title}. {alert['summary']}"),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title[:MAX_TITLE]}},
            {"type": "section", "text": {"type": "mrkdwn", "text": _escaped(alert["summary"][:MAX_SECTION])}},
            {
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": f"{_handling(alert)} · <{alert['url']}|open the report>"}],
            },
        ],
    }


def _handling(alert: AlertEventData) -> str:
    """Return an incident's severity, since when it lasts, and who takes care of it."""
    parts = [f"severity {alert['severity']}", f"since {alert['since']}"]
    if acknowledged := alert.get("acknowledged"):
        note = f" ({acknowledged['note']})" if acknowledged["note"] else ""
        parts.append(_escaped(f"acknowledged by {acknowledged['by']}{note}"[:MAX_SECTION]))
    if alert.get("muted_until"):
        parts.append(f"muted until {alert['muted_until']}")
    return " · ".join(parts)


def alertmanager(event: str, at: dt.datetime, alert: AlertEventData) -> Body:
    """Return the body of Alertmanager's API v2 (`POST /api/v2/alerts`).

    Alertmanager knows an alert by its labels: where a change gives an incident other labels, the body also ends the
    alert under its earlier ones.
    """
    labels = _labels(alert)
    entry: dict[str, object] = {
        "labels": labels,
        "annotations": {"summary": alert["summary"], "alert_id": alert["alert_id"]},
        "startsAt": alert["since"],
        "generatorURL": alert["url"],
    }
    if event == RESOLVED:
        return [entry | {"endsAt": at.isoformat()}]
    earlier_labels = labels
    if previous := alert.get("previous"):
        earlier_labels = labels | {"kind": previous["kind"], "severity": previous["severity"]}
    if earlier_labels == labels:
        return [entry]
    return [entry | {"labels": earlier_labels, "endsAt": at.isoformat()}, entry]


def _labels(alert: AlertEventData) -> dict[str, str]:
    identity_labels = {"alertname": "TidemarkDrift", "stream": alert["stream"]}
    return identity_labels | {"kind": alert["kind"], "severity": alert["severity"]}


def standard_test(at: dt.datetime, data: TestEventData) -> Body:
    """Return the body of a test event in the Standard Webhooks format."""
    return {"type": TEST, "timestamp": at.isoformat(), "data": data}


def slack_test(at: dt.datetime, data: TestEventData) -> Body:
    """Return the Slack message of a test event."""
    return {"text": _escaped(f"Tidemark test. {data['summary']}")}


def alertmanager_test(at: dt.datetime, data: TestEventData) -> Body:
    """Return the body of a test event for Alertmanager: an alert that lasts a minute."""
    labels, annotations = {"alertname": "TidemarkTest"}, {"summary": data["summary"]}
    end = at + dt.timedelta(minutes=1)
    return [{"labels": labels, "annotations": annotations, "startsAt": at.isoformat(), "endsAt": end.isoformat()}]


FORMATS = {"standard": standard, "slack": slack, "alertmanager": alertmanager}
TEST_FORMATS = {"standard": standard_test, "slack": slack_test, "alertmanager": alertmanager_test}


def render(name: str, event: str, at: dt.datetime, alert: AlertEventData) -> str:
    """Return the body of an incident's event in the format called `name`, as the text that is signed and sent."""
    return orjson.dumps(FORMATS[name](event, at, alert)).decode()


def render_test(name: str, at: dt.datetime, data: TestEventData) -> str:
    """Return the body of a test event in the format called `name`, as the text that is signed and sent."""
    return orjson.dumps(TEST_FORMATS[name](at, data)).decode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
