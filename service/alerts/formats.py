"""The bodies that receivers are sent: the same event in the dialects of three kinds of program."""

import datetime as dt
from typing import Any

import orjson

from .alert_draft import CHANGED, FIRING, RESOLVED, TEST

Body = dict[str, Any] | list[dict[str, Any]]

MAX_SECTION = 600  # characters of a summary; escaped they are fewer than Slack's 3,000
MAX_TITLE = 150  # characters that Slack accepts in a header
STATES = {FIRING: "firing", CHANGED: "changed", RESOLVED: "resolved"}
TEST_SUMMARY = "This is a test of the receiver. No stream drifts because of it."


def standard(event: str, at: dt.datetime, alert: dict[str, Any]) -> Body:
    """Return the body of the Standard Webhooks format (standardwebhooks.com): type, timestamp, data."""
    return {"type": event, "timestamp": at.isoformat(), "data": alert}


def slack(event: str, at: dt.datetime, alert: dict[str, Any]) -> Body:
    """Return a Slack message (Block Kit) with a plain-text fallback."""
    if event == TEST:
        return {"text": _escaped(f"Tidemark test. {alert['summary']}")}
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


def _handling(alert: dict[str, Any]) -> str:
    """Return an incident's severity, since when it lasts, and who takes care of it."""
    parts = [f"severity {alert['severity']}", f"since {alert['since']}"]
    if acknowledged := alert.get("acknowledged"):
        note = f" ({acknowledged['note']})" if acknowledged["note"] else ""
        parts.append(_escaped(f"acknowledged by {acknowledged['by']}{note}"[:MAX_SECTION]))
    if alert.get("muted_until"):
        parts.append(f"muted until {alert['muted_until']}")
    return " · ".join(parts)


def alertmanager(event: str, at: dt.datetime, alert: dict[str, Any]) -> Body:
    """Return the body of Alertmanager's API v2 (`POST /api/v2/alerts`).

    Alertmanager knows an alert by its labels: where a change gives an incident other labels, the body also ends the
    alert under its earlier ones.
    """
    if event == TEST:
        entry = {"labels": {"alertname": "TidemarkTest"}, "annotations": {"summary": alert["summary"]}}
        return [entry | {"startsAt": at.isoformat(), "endsAt": (at + dt.timedelta(minutes=1)).isoformat()}]
    labels = _labels(alert)
    entry = {
        "labels": labels,
        "annotations": {"summary": alert["summary"], "alert_id": alert["alert_id"]},
        "startsAt": alert["since"],
        "generatorURL": alert["url"],
    }
    if event == RESOLVED:
        return [entry | {"endsAt": at.isoformat()}]
    earlier = labels | {name: value for name, value in alert.get("previous", {}).items() if name in labels}
    if earlier == labels:
        return [entry]
    return [entry | {"labels": earlier, "endsAt": at.isoformat()}, entry]


def _labels(alert: dict[str, Any]) -> dict[str, str]:
    fixed = {"alertname": "TidemarkDrift", "stream": alert["stream"]}
    return fixed | {"kind": alert["kind"], "severity": alert["severity"]}


FORMATS = {"standard": standard, "slack": slack, "alertmanager": alertmanager}


def render(name: str, event: str, at: dt.datetime, alert: dict[str, Any]) -> str:
    """Return the body in the format called `name`, as the text that is signed and sent."""
    return orjson.dumps(FORMATS[name](event, at, alert)).decode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
