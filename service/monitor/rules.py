"""The decisions between evidence and alert, as plain functions of what was measured."""

import datetime as dt
from typing import Any

CALM_LEVEL = 0.05  # a window counts as calm above it
MIN_ALARM_ROWS = 50  # predictions after the change that its kind is named from
PATIENCE = dt.timedelta(seconds=10)  # after which an alarm goes out with fewer


def explained_by(since_change: int, detected_at: dt.datetime, now: dt.datetime) -> bool:
    """Tell whether enough predictions have come since the change to name its kind, or the wait is over."""
    return since_change >= MIN_ALARM_ROWS or now - detected_at >= PATIENCE


def named_kind(report: dict[str, Any], leading: str) -> str:
    """Return the kind of an alarm: the report's, or where its window is too small to tell, the leading view's.

    `leading` is the detector's view: soft label counts see a label shift, the others a covariate shift.
    """
    if report["kind"] != "none":
        return str(report["kind"])
    return "label" if leading in ("soft_label", "L") else "covariate"


def is_calm(report: dict[str, Any]) -> bool:
    """Tell whether a window speaks for the end of a drift."""
    return bool(report["p_value"] > CALM_LEVEL)


def further_kind(report: dict[str, Any], previous: str | None, firing: set[str]) -> str | None:
    """Return a kind that two windows in a row name while others are firing, or None."""
    kind = str(report["kind"])
    fresh = report["drifted"] and kind != "none" and kind not in firing
    return kind if fresh and kind == previous else None
