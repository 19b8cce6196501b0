"""The Slack format against the published limits of Block Kit (docs.slack.dev/reference/block-kit)."""

import datetime as dt
import json
from typing import Any, cast

import pytest

from tidemark.alerts.event_data import AlertEventData
from tidemark.alerts.formats import render

AT = dt.datetime(2026, 11, 25, 14, 2, tzinfo=dt.UTC)
BLOCKS = {"header": {"type", "text"}, "section": {"type", "text"}, "context": {"type", "elements"}}
MAX_BLOCKS = 50
MAX_TEXT = 3000  # characters of a text object
MAX_HEADER = 150
MAX_ELEMENTS = 10


def alert(**changes: Any) -> AlertEventData:
    values = {
        "stream": "digits:1/camera=7",
        "kind": "covariate",
        "summary": "Images are darker than in training (brightness 0.31 → 0.22)",
        "since": AT.isoformat(),
        "url": "http://127.0.0.1:8000/alerts/0192/page",
        "severity": "ticket",
        "resolution": "recovered",
    }
    return cast("AlertEventData", values | changes)  # the keys that the format reads


def message(event: str, **changes: Any) -> dict[str, Any]:
    content = json.loads(render("slack", event, AT, alert(**changes)))
    assert isinstance(content, dict)
    return content


def assert_text(text: dict[str, Any], kind: str, longest: int) -> None:
    assert text.keys() == {"type", "text"}
    assert text["type"] == kind
    assert 1 <= len(text["text"]) <= longest


@pytest.mark.parametrize("event", ["drift.firing", "drift.changed", "drift.resolved"])
@pytest.mark.parametrize("changes", [{}, {"summary": "darker & darker; " * 500, "stream": "m" * 200 + ":1"}])
def test_every_block_keeps_to_the_schema(event: str, changes: dict[str, str]) -> None:
    blocks = message(event, **changes)["blocks"]
    assert 1 <= len(blocks) <= MAX_BLOCKS
    for block in blocks:
        assert block.keys() == BLOCKS[block["type"]]
        if block["type"] == "header":
            assert_text(block["text"], "plain_text", MAX_HEADER)
        elif block["type"] == "section":
            assert_text(block["text"], "mrkdwn", MAX_TEXT)
        else:
            assert 1 <= len(block["elements"]) <= MAX_ELEMENTS
            for element in block["elements"]:
                assert_text(element, "mrkdwn", MAX_TEXT)


@pytest.mark.parametrize("changes", [{}, {"summary": "darker & darker; " * 500, "stream": "m" * 200 + ":1"}])
def test_slack_s_library_accepts_every_block(changes: dict[str, str]) -> None:
    blocks = pytest.importorskip("slack_sdk.models.blocks", reason="pip install slack-sdk")
    for block in message("drift.firing", **changes)["blocks"]:
        parsed = blocks.Block.parse(block)
        parsed.validate_json()
        assert parsed.to_dict() == block


def test_it_says_what_where_and_links_to_the_page() -> None:
    firing = message("drift.firing")
    assert firing["text"].startswith("digits:1/camera=7: covariate shift firing.")
    assert "<http://127.0.0.1:8000/alerts/0192/page|open the report>" in json.dumps(firing["blocks"])
    assert "resolved (recovered)" in message("drift.resolved")["text"]
    assert message("drift.firing", severity="page")["text"].startswith("PAGE digits:1/camera=7")


def test_it_says_how_urgent_it_is_and_who_takes_care() -> None:
    handled = {
        "acknowledged": {"at": AT.isoformat(), "by": "anna <!here>", "note": "on it"},
        "muted_until": "2026-11-25T18:00:00+00:00",
    }
    [context] = message("drift.changed", severity="page", **handled)["blocks"][2]["elements"]
    for part in (
        "severity page",
        "acknowledged by anna &lt;!here&gt; (on it)",
        "muted until 2026-11-25T18:00:00+00:00",
    ):
        assert part in context["text"]
    [context] = message("drift.firing")["blocks"][2]["elements"]
    assert context["text"].startswith("severity ticket · since ")


def test_a_label_cannot_call_the_channel() -> None:
    section = message("drift.firing", summary="more <!channel> than before")["blocks"][1]
    assert "<!channel>" not in section["text"]["text"]
