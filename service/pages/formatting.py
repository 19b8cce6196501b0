"""Numbers, moments and spans of time as people read them."""

import datetime as dt
import math
import re

from markupsafe import Markup, escape

from ..durations import duration
from ..store.label_evidence_json import AccuracyJson, LabelEvidenceJson
from ..store.report_json import PerformanceJson, WindowReportJson

PROPERTY_VALUES = re.compile(r" \([^()]* → [^()]*\)")  # the values of a property inside a summary
HARMLESS_LOSS = 0.02  # accuracy that a rehearsed shift may cost and still count as harmless
SURVIVED_LOSS = 0.1  # accuracy that a rehearsed shift may cost and still count as survived
MONITOR_TIMEOUT_SECONDS = (
    60.0  # seconds without progress while predictions wait, after which the monitor seems to be stopped
)


def p_value(p: float | None) -> str:
    """Write a p-value as people read one."""
    if p is None or not math.isfinite(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}".rstrip("0").rstrip(".")


def errors_only(count: int) -> str:
    """Write that labels of errors only measure no accuracy."""
    return (
        f"no measured accuracy: the last {count} labels that came back are next to all of errors, as if only wrong "
        "predictions were labelled, which cannot be corrected; label a random sample too, or use the label desk"
    )


def survival_class(accuracy: float, unchanged: float) -> str:
    """Return the class of a cell by how much accuracy a rehearsed shift costs."""
    lost = unchanged - accuracy
    return "holds" if lost <= HARMLESS_LOSS else "falls" if lost <= SURVIVED_LOSS else "breaks"


def p_value_equation(p: float) -> str:
    """Write a p-value with its name."""
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def evidence_strength(p: float | None) -> str:
    """Write how strongly a p-value speaks against chance."""
    if p is None or not math.isfinite(p):
        return "not tested"
    return "very strong" if p < 1e-3 else "strong" if p < 0.01 else "weak" if p < 0.05 else "like chance"


def describe_result(p: float, effect: float) -> str:
    """Write the result of a test; its effect lies in 0..1."""
    if p >= 0.05:
        return evidence_strength(p)
    size = "tiny" if effect < 0.1 else "small" if effect < 0.3 else "medium" if effect < 0.6 else "large"
    return f"{evidence_strength(p)} evidence, {size} effect"


def number(value: float | None, digits: int = 2) -> str:
    """Write a number with its decimals, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:z.{digits}f}".replace("-", "−")


def measured_value(value: float | None) -> str:
    """Write a measured value to three significant digits, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}".replace("-", "−")


def percentage(value: float | None) -> str:
    """Write a share in per cent."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.0%}"


def utc_time(iso: str) -> str:
    """Write an ISO 8601 time with its offset as UTC, to the second."""
    return dt.datetime.fromisoformat(iso).astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def short_time(iso: str) -> str:
    """Write an ISO 8601 time as UTC to the minute, without what goes without saying today or this year."""
    time, now = dt.datetime.fromisoformat(iso).astimezone(dt.UTC), dt.datetime.now(dt.UTC)
    day = (
        "" if time.date() == now.date() else f"{time.day} {time:%b} " + ("" if time.year == now.year else f"{time:%Y} ")
    )
    return f"{day}{time:%H:%M} UTC"


def headline(report: WindowReportJson, since: str | None = None) -> str:
    """Write in one sentence the change, its time, and its effect on the accuracy with an interval."""
    summary, labels, guess = report["summary"], report.get("labels"), report.get("performance")
    earlier = report.get("recurrence")
    recurrence = f"; {earlier['text']}" if earlier else ""
    summary = summary.removesuffix(recurrence)
    if labels:
        change, _, _ = summary.partition(": accuracy")
        before = labels.get("reference_accuracy") if report["kind"] == "harm" else labels["promised"]
        figures = f"; accuracy {number(before)} → {number(labels['accuracy'])} {interval(labels)}"
        figures += f" on {labels['n']} labels"
    else:
        change, figures, after = summary.partition("; estimated accuracy")
        figures += after
        if figures and guess:
            figures += f" {interval(guess)}"
    return PROPERTY_VALUES.sub("", change) + (f" since {short_time(since)}" if since else "") + figures + recurrence


def interval(estimate: PerformanceJson | AccuracyJson | LabelEvidenceJson) -> str:
    """Write the interval of an accuracy."""
    return f"({number(estimate['low'])}–{number(estimate['high'])})"


def clock_time(iso: str) -> str:
    """Write an ISO 8601 time as the clock shows it in UTC."""
    return dt.datetime.fromisoformat(iso).astimezone(dt.UTC).strftime("%H:%M:%S")


def time_ago(iso: str) -> str:
    """Write how long ago a moment was."""
    return f"{duration((dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(iso)).total_seconds())} ago"


def monitor_lag(count: int, active_at: str | None) -> str:
    """Write how far the monitor is behind, and since when if it seems not to run."""
    if not count:
        return "monitor up to date"
    backlog_text = f"monitor {count:,} predictions behind"
    if active_at is None:
        return backlog_text
    silent = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(active_at)).total_seconds()
    return (
        f"{backlog_text}, last active {duration(silent)} ago: is it running?"
        if silent > MONITOR_TIMEOUT_SECONDS
        else backlog_text
    )


WATCHING_TEXTS = {
    "no_monitor": "not watched: no monitor is running",
    "monitor_stalled": "not watched: the monitor makes no progress, see its log",
    "behind": "watched late: the monitor is more than a minute behind",
    "reference_mismatch": "not watched: the reference is of another model",
    "rows_rejected": "not watched: the logged predictions cannot be processed",
    "error": "not watched: the monitor's steps fail, see its log",
    "self_test": "the detector's self-test failed: a shift may go unseen",
}


def watching(reason: str) -> str:
    """Return the text of the reason why a model is not watched."""
    return WATCHING_TEXTS.get(reason, f"not watched: {reason}")


def with_code(text: str) -> Markup:
    """Write a sentence whose commands stand between backticks."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if at % 2 else escape(p) for at, p in enumerate(parts))
