"""What a receiver is sent: the same alert in the dialects of three kinds of program."""

import datetime as dt
from typing import Any

import orjson

Body = dict[str, Any] | list[dict[str, Any]]

MAX_SECTION = 600  # characters of a summary; escaped they are fewer than Slack's 3,000
STATES = {"drift.firing": "firing", "drift.resolved": "resolved"}


def standard(event: str, at: dt.datetime, alert: dict[str, Any]) -> Body:
    """Return the body of the Standard Webhooks format (standardwebhooks.com): type, timestamp, data."""
    return {"type": event, "timestamp": at.isoformat(), "data": alert}


def slack(event: str, at: dt.datetime, alert: dict[str, Any]) -> Body:
    """Return a Slack message (Block Kit) with a plain-text fallback."""
    state = STATES[event]
    title = f"{alert['stream']}: {alert['kind']} shift {state}"
    return {
        "text": _escaped(f"{title}. {alert['summary']}"),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title[:150]}},
            {"type": "section", "text": {"type": "mrkdwn", "text": _escaped(alert["summary"][:MAX_SECTION])}},
            {
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": f"since {alert['since']} · <{alert['url']}|open the report>"}],
            },
        ],
    }


def alertmanager(event: str, at: dt.datetime, alert: dict[str, Any]) -> Body:
    """Return the body of Alertmanager's API v2 (`POST /api/v2/alerts`)."""
    entry = {
        "labels": {"alertname": "TidemarkDrift", "stream": alert["stream"], "kind": alert["kind"]},
        "annotations": {"summary": alert["summary"]},
        "startsAt": alert["since"],
        "generatorURL": alert["url"],
    }
    if STATES[event] == "resolved":
        entry["endsAt"] = at.isoformat()
    return [entry]


FORMATS = {"standard": standard, "slack": slack, "alertmanager": alertmanager}


def render(name: str, event: str, at: dt.datetime, alert: dict[str, Any]) -> str:
    """Return the body in the format called `name`, as the text that is signed and sent."""
    return orjson.dumps(FORMATS[name](event, at, alert)).decode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
