"""Charts of a stream's evidence: in full, with the alarm line and the estimated change, or as a sparkline."""

import datetime as dt
import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from .. import svg
from . import formatting
from .evidence_history import EvidenceHistory

WIDTH = 340
LEFT, RIGHT = 8, 332
MARGIN = 42  # width left of the chart, for its scale
TOP, BASE = 14, 108  # top and bottom of the chart
SPARKLINE_BASE = 36  # bottom of a sparkline
MAX_SPARKLINE_POINTS = 70
SCALE = (0, 1, 10, 100, 1000, 10_000)  # nats at which the scale has a line


class _Point(NamedTuple):
    time: str
    position: float
    evidence: float


class _Chart:
    """The parts of the full chart, on a linear scale of positions and a logarithmic one of evidence."""

    def __init__(self, history: EvidenceHistory, points: Sequence[_Point]) -> None:
        self._history = history
        self._points = points
        self._first, self._last = points[0].position, points[-1].position
        highest = max([point.evidence for point in points] + [history.threshold or 0.0, 1.0])
        self._top = math.log1p(1.5 * highest)

    def parts(self) -> list[str]:
        """Return everything that the chart draws, from back to front."""
        history = self._history
        line = " ".join(f"{self._x(point.position):.1f},{self._y(point.evidence):.1f}" for point in self._points)
        return [
            *self._scale(),
            *([self._band("span", history.span)] if history.span else []),
            *([self._band("range", history.change_range)] if history.change_range else []),
            f'<polyline class="line" points="{line}"/>',
            *self._threshold(),
            *self._change(),
            *self._axis(),
        ]

    def description(self) -> str:
        """Return the text alternative."""
        history, newest = self._history, self._points[-1]
        sentences = [f"{newest.evidence:.1f} nats after {self._last:,.0f} {history.counted}"]
        if history.span:
            sentences.append(f"this window is predictions {history.span[0]:,} to {history.span[1]:,}")
        if history.threshold is not None:
            sentences.append(f"alarm above {history.threshold:.1f}")
        if self._shows_change():
            sentences.append(f"change estimated at {history.counted[:-1]} {history.change:,}")
            if history.change_range:
                sentences[-1] += f", between {history.change_range[0]:,} and {history.change_range[1]:,}"
        elif history.alarm is not None:
            sentences.append(f"alarm at prediction {history.alarm:,}")
        start, end = (formatting.clock_time(point.time) for point in (self._points[0], newest))
        return "; ".join([*sentences, f"from {start} to {end} UTC"])

    def _x(self, position: float) -> float:
        share = (position - self._first) / max(self._last - self._first, 1)
        return MARGIN + min(max(share, 0.0), 1.0) * (RIGHT - MARGIN)

    def _y(self, evidence: float) -> float:
        return BASE - math.log1p(max(evidence, 0)) / self._top * (BASE - TOP)

    def _scale(self) -> list[str]:
        parts = []
        for value in SCALE:
            if math.log1p(value) < self._top:
                y = self._y(value)
                parts.append(f'<line class="axis" x1="{MARGIN}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"/>')
                parts.append(svg.text(MARGIN - 4, y + 3, f"{value:,}", "end") if value else "")
        return parts

    def _band(self, style: str, edges: tuple[int, int]) -> str:
        start, end = (self._x(edge) for edge in edges)
        width = max(end - start, 1)
        return f'<rect class="{style}" x="{start:.1f}" y="{TOP}" width="{width:.1f}" height="{BASE - TOP}"/>'

    def _threshold(self) -> list[str]:
        threshold = self._history.threshold
        if threshold is None:
            return []
        y = self._y(threshold)
        return [
            f'<line class="limit" x1="{MARGIN}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"/>',
            svg.text(MARGIN + 4, y - 4, f"alarm above {threshold:.1f}"),
        ]

    def _shows_change(self) -> bool:
        change = self._history.change
        return change is not None and self._first <= change <= self._last

    def _change(self) -> list[str]:
        change = self._history.change
        if change is None or not self._shows_change():
            return []
        x, content = self._x(change), f"change ≈ {change:,}"
        return [
            f'<line class="change" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{BASE}"/>',
            # on the side of the line that has room
            svg.text(x - 4, 11, content, "end") if x > WIDTH / 2 else svg.text(x + 4, 11, content),
        ]

    def _axis(self) -> list[str]:
        first, newest = self._points[0], self._points[-1]
        end = f"{_date_prefix(newest.time)}{formatting.clock_time(newest.time)} UTC"
        return [
            svg.text(MARGIN, BASE + 12, f"{self._first:,.0f}"),
            svg.text(RIGHT, BASE + 12, f"{self._last:,.0f} {self._history.counted}", "end"),
            svg.text(MARGIN, BASE + 24, formatting.clock_time(first.time)),
            svg.text(RIGHT, BASE + 24, end, "end"),
        ]


def evidence(history: EvidenceHistory) -> Markup:
    """Draw evidence over a stream's predictions, with the alarm line and the estimated change."""
    points = _points(history)
    if len(points) < 2:
        return Markup('<p class="dim">The evidence is drawn once this stream has been processed twice.</p>')
    chart = _Chart(history, points)
    subject = "of drift" if history.counted == "predictions" else "that labels disagree"
    title = f"Evidence {subject} in nats, on a log scale, over {history.counted}"
    return svg.figure(title, chart.description(), WIDTH, BASE + 28, chart.parts())


def sparkline(history: EvidenceHistory) -> Markup:
    """Draw evidence over a stream's predictions as one coarse line that keeps its peaks, with the alarm line."""
    points = _points(history)
    if len(points) < 2:
        return Markup("")
    first, last = points[0].position, points[-1].position
    limit = history.threshold or 1.0
    top = math.log1p(1.1 * max(limit, *(point.evidence for point in points)))

    def y(value: float) -> float:
        return SPARKLINE_BASE - math.log1p(max(value, 0)) / top * (SPARKLINE_BASE - 2)

    step = -(-len(points) // MAX_SPARKLINE_POINTS)
    peaks = [max(points[at : at + step], key=lambda point: point.evidence) for at in range(0, len(points), step)]
    scale = (RIGHT - LEFT) / max(last - first, 1)
    line = " ".join(f"{LEFT + (point.position - first) * scale:.1f},{y(point.evidence):.1f}" for point in peaks)
    parts = [
        f'<polyline class="line" points="{line}"/>',
        f'<line class="limit" x1="{LEFT}" y1="{y(limit):.1f}" x2="{RIGHT}" y2="{y(limit):.1f}"/>',
    ]
    title = f"Evidence of drift, {points[-1].evidence:.1f} nats, alarm above {limit:.1f}"
    description = f"the last {last - first:,.0f} predictions, on a log scale"
    return svg.figure(title, description, WIDTH, SPARKLINE_BASE + 4, parts)


def _points(history: EvidenceHistory) -> list[_Point]:
    return [
        _Point(time, float(position), float(value))
        for time, position, value in history.history
        if value is not None and math.isfinite(value)
    ]


def _date_prefix(iso: str) -> str:
    """Return the date of a time that is not today."""
    time = dt.datetime.fromisoformat(iso).astimezone(dt.UTC)
    return "" if time.date() == dt.datetime.now(dt.UTC).date() else f"{time:%Y-%m-%d} "
