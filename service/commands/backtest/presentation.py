"""A backtest as a table for people, and as a picture."""

import datetime as dt
import math
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from ...errors import ConfigurationError
from ...pages.timeline import Bar, Lane, Mark, timeline
from .comparison import Comparison, Detection, Outcome

MAX_INCIDENTS = 20  # incidents of each outcome that are listed, the first


def show(comparison: Comparison) -> None:
    """Print a backtest."""
    since, until = comparison.span
    console = Console()
    console.print(f"{comparison.stream} from {_minute(since)} to {_minute(until)} UTC")
    if comparison.caveat is not None:
        console.print(comparison.caveat)
    summary = Table(Column("settings", no_wrap=True), "incidents", "run time", "alarm above", "pace", "cost", box=None)
    for item in comparison.outcomes:
        summary.add_row(item.name, _kinds(item), *_measures(item))
    console.print(summary)
    for number, change in enumerate(comparison.changes):
        source = "named" if change.source == "given" else "as an alert estimated it"
        console.print(f"\nchange at {_minute(change.at)} UTC ({source})")
        table = Table(Column("settings", no_wrap=True), "alarm", "kind", "delay", "predictions", box=None)
        for item in comparison.outcomes:
            table.add_row(item.name, *_detection(item.detections[number]))
        console.print(table)
    for item in comparison.outcomes:
        if item.incidents:
            console.print(
                f"\n{item.name}: {item.unexplained} of {len(item.incidents)} incidents answer no change above"
            )
        for incident in item.incidents[:MAX_INCIDENTS]:
            resolved_at = incident.resolved_at
            ended = "open" if resolved_at is None else f"{incident.resolution} {_minute(resolved_at)}"
            title = " ".join(filter(None, (incident.slice, incident.kind, incident.severity)))
            console.print(f"  {_minute(incident.fired_at)} {title}, {ended}: {incident.summary}", highlight=False)


def draw(comparison: Comparison, path: Path) -> None:
    """Write a backtest as an SVG file.

    Raises
    ------
    ConfigurationError
        The file cannot be written.
    """
    until = comparison.span[1]
    lanes = [
        Lane(
            item.name,
            _note(item),
            [
                Bar(
                    incident.fired_at,
                    incident.resolved_at or until,
                    incident.kind,
                    f"{_minute(incident.fired_at)} {incident.slice} {incident.kind}: {incident.summary}",
                )
                for incident in item.incidents
            ],
            None if item.evidence is None else item.evidence.tolist(),
        )
        for item in comparison.outcomes
    ]
    marks = [Mark(change.at) for change in comparison.changes if change.source == "given"]
    title = f"Incidents of {comparison.stream}"
    if comparison.caveat is not None:
        title += f" ({comparison.caveat.partition(', each')[0]})"
    try:
        path.write_text(timeline(title, comparison.span, lanes, marks), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--picture: cannot write {path}: {error.strerror}") from None


def _note(item: Outcome) -> str:
    count = len(item.incidents)
    delays = [detection.seconds for detection in item.detections if detection is not None]
    note = f"{count} incident{'' if count == 1 else 's'}"
    if item.detections:
        note += f", {len(delays)} of {len(item.detections)} changes found"
    return note


def _kinds(item: Outcome) -> str:
    """Return the number of incidents of each kind."""
    kinds = [incident.kind for incident in item.incidents]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)) or "none"


def _measures(item: Outcome) -> tuple[str, str, str, str]:
    if item.cost is None or item.threshold is None or item.expected_run_time is None:
        return "", "", "", ""
    cost = item.cost
    pace = cost.predictions / cost.seconds if cost.seconds > 0 else math.inf
    return (
        f"{item.expected_run_time:,.0f}",
        f"{item.threshold:.1f} nats",
        f"{pace:,.0f}/s",
        f"{cost.seconds:.1f} s, {cost.windows} windows",
    )


def _detection(detection: Detection | None) -> tuple[str, str, str, str]:
    if detection is None:
        return "none", "", "", ""
    delay = str(dt.timedelta(seconds=round(detection.seconds)))
    count = "" if detection.predictions is None else f"{detection.predictions:,}"
    return _minute(detection.at), detection.kind, delay, count


def _minute(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M")
