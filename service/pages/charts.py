"""Charts as inline SVG: numbers in, safe markup out, each with a title, its units and a text alternative.

One unit of a view box is about one pixel on a phone.
"""

import datetime as dt
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup, escape

from ..inference.properties import UNITS
from . import formatting as formatting
from .evidence_history import EvidenceHistory

WIDTH = 340
LEFT, RIGHT = 8, 332
EVIDENCE_BASE = 108  # bottom of the evidence chart
SPARKLINE_BASE = 36  # bottom of a sparkline
MAX_SPARKLINE_POINTS = 70
MARGIN = 42  # width left of the evidence chart, for its scale
MAX_NAME_LENGTH = 12  # characters of a class's name that are drawn
LETTER_WIDTH = 6.5  # mean width of a character in the font of the charts
CHANGE_WIDTH = 76  # width of the text to the right of the bars
MAX_CLASSES = 12  # classes that a chart shows


def evidence(history: EvidenceHistory) -> Markup:
    """Draw evidence over a stream's predictions, with the alarm line and the estimated change."""
    points = _points(history)
    if len(points) < 2:
        return Markup('<p class="dim">The evidence is drawn once this stream has been processed twice.</p>')
    first, last = points[0][1], points[-1][1]
    top = math.log1p(1.5 * max([e for _, _, e in points] + [history.threshold or 0.0, 1.0]))

    def x(position: float) -> float:
        share = (position - first) / max(last - first, 1)
        return MARGIN + min(max(share, 0.0), 1.0) * (RIGHT - MARGIN)

    def y(value: float) -> float:
        return EVIDENCE_BASE - math.log1p(max(value, 0)) / top * (EVIDENCE_BASE - 14)

    parts, description = [], [f"{points[-1][2]:.1f} nats after {last:,.0f} {history.counted}"]
    for value in (0, 1, 10, 100, 1000, 10_000):
        if math.log1p(value) < top:
            parts.append(f'<line class="axis" x1="{MARGIN}" y1="{y(value):.1f}" x2="{RIGHT}" y2="{y(value):.1f}"/>')
            parts.append(_text(MARGIN - 4, y(value) + 3, f"{value:,}", "end") if value else "")
    if history.span:
        a, b = (x(edge) for edge in history.span)
        parts.append(
            f'<rect class="span" x="{a:.1f}" y="14" width="{max(b - a, 1):.1f}" height="{EVIDENCE_BASE - 14}"/>'
        )
        description.append(f"this window is predictions {history.span[0]:,} to {history.span[1]:,}")
    if history.change_range:
        a, b = (x(edge) for edge in history.change_range)
        parts.append(
            f'<rect class="range" x="{a:.1f}" y="14" width="{max(b - a, 1):.1f}" height="{EVIDENCE_BASE - 14}"/>'
        )
    line = " ".join(f"{x(p):.1f},{y(e):.1f}" for _, p, e in points)
    parts.append(f'<polyline class="line" points="{line}"/>')
    if history.threshold is not None:
        height = y(history.threshold)
        parts.append(f'<line class="limit" x1="{MARGIN}" y1="{height:.1f}" x2="{RIGHT}" y2="{height:.1f}"/>')
        parts.append(_text(MARGIN + 4, height - 4, f"alarm above {history.threshold:.1f}"))
        description.append(f"alarm above {history.threshold:.1f}")
    if history.change is not None and first <= history.change <= last:
        at = x(history.change)
        parts.append(f'<line class="change" x1="{at:.1f}" y1="14" x2="{at:.1f}" y2="{EVIDENCE_BASE}"/>')
        parts.append(_text_next_to(at, 11, f"change ≈ {history.change:,}"))
        between = history.change_range
        description.append(
            f"change estimated at {history.counted[:-1]} {history.change:,}"
            + (f", between {between[0]:,} and {between[1]:,}" if between else "")
        )
    elif history.alarm is not None:
        description.append(f"alarm at prediction {history.alarm:,}")
    start, end = formatting.clock_time(points[0][0]), formatting.clock_time(points[-1][0])
    parts.append(
        _text(MARGIN, EVIDENCE_BASE + 12, f"{first:,.0f}")
        + _text(RIGHT, EVIDENCE_BASE + 12, f"{last:,.0f} {history.counted}", "end")
    )
    parts.append(
        _text(MARGIN, EVIDENCE_BASE + 24, start)
        + _text(RIGHT, EVIDENCE_BASE + 24, f"{_date_prefix(points[-1][0])}{end} UTC", "end")
    )
    description.append(f"from {start} to {end} UTC")
    subject = "of drift" if history.counted == "predictions" else "that labels disagree"
    title = f"Evidence {subject} in nats, on a log scale, over {history.counted}"
    return _figure(title, "; ".join(description), EVIDENCE_BASE + 28, parts)


def sparkline(history: EvidenceHistory) -> Markup:
    """Draw evidence over a stream's predictions as one coarse line that keeps its peaks, with the alarm line."""
    points = _points(history)
    if len(points) < 2:
        return Markup("")
    first, last = points[0][1], points[-1][1]
    limit = history.threshold or 1.0
    top = math.log1p(1.1 * max(limit, *(e for _, _, e in points)))

    def y(value: float) -> float:
        return SPARKLINE_BASE - math.log1p(max(value, 0)) / top * (SPARKLINE_BASE - 2)

    step = -(-len(points) // MAX_SPARKLINE_POINTS)
    peaks = [max(points[at : at + step], key=lambda point: point[2]) for at in range(0, len(points), step)]
    line = " ".join(f"{LEFT + (p - first) / max(last - first, 1) * (RIGHT - LEFT):.1f},{y(e):.1f}" for _, p, e in peaks)
    parts = [f'<polyline class="line" points="{line}"/>']
    parts.append(f'<line class="limit" x1="{LEFT}" y1="{y(limit):.1f}" x2="{RIGHT}" y2="{y(limit):.1f}"/>')
    title = f"Evidence of drift, {points[-1][2]:.1f} nats, alarm above {limit:.1f}"
    return _figure(title, f"the last {last - first:,.0f} predictions, on a log scale", SPARKLINE_BASE + 4, parts)


def p_values(windows: Sequence[tuple[int, float, bool]]) -> Markup:
    """Draw p-values of windows (id, p, drifted), oldest first, on a scale where taller is stronger evidence."""
    if not windows:
        return Markup("")
    heights = [min(-math.log10(max(p, 1e-12)), 12.0) for _, p, _ in windows]
    top = max([*heights, 2.5])
    step = (RIGHT - LEFT) / len(windows)
    parts = [f'<line class="axis" x1="{LEFT}" y1="84" x2="{RIGHT}" y2="84"/>']
    for at, ((_, _, drifted), height) in enumerate(zip(windows, heights, strict=True)):
        tall = max(height / top * 72, 1)
        kind = "bar moved" if drifted else "bar"
        parts.append(
            f'<rect class="{kind}" x="{LEFT + at * step + 1:.1f}" y="{84 - tall:.1f}"'
            f' width="{min(max(step - 2, 1), 20):.1f}" height="{tall:.1f}"/>'
        )
    line = 84 - 2 / top * 72
    parts.append(f'<line class="limit" x1="{LEFT}" y1="{line:.1f}" x2="{RIGHT}" y2="{line:.1f}"/>')
    parts.append(_text(LEFT, line - 4, "p = 0.01"))
    parts.append(_text(LEFT, 97, f"window {windows[0][0]}") + _text(RIGHT, 97, f"window {windows[-1][0]}", "end"))
    count = sum(shifted for _, _, shifted in windows)
    description = f"{count} of {len(windows)} windows drifted; the newest has p = {windows[-1][1]:.2g}"
    return _figure("p of each window, as −log₁₀ p: taller is stronger", description, 101, parts)


def proportions(
    reference: Mapping[str, float],
    window: Mapping[str, float],
    estimated: Mapping[str, float],
    low: Mapping[str, float],
    high: Mapping[str, float],
) -> Markup:
    """Draw shares per class: reference, predicted in the window and estimated with its interval; most moved first."""
    now = {**window, **estimated}
    order = sorted({*reference, *now}, key=lambda c: -abs(now.get(c, 0.0) - reference.get(c, 0.0)))[:MAX_CLASSES]
    if not order:
        return Markup("")
    top = max(shares.get(c, 0.0) for shares in (reference, window, estimated, high) for c in order) or 1.0

    left = 12 + LETTER_WIDTH * min(max(len(name) for name in order), MAX_NAME_LENGTH)

    def x(value: float) -> float:
        return left + max(value, 0) / top * (RIGHT - CHANGE_WIDTH - left)

    bottom = 28 * len(order) + 2
    parts, description = [_ticks(top, bottom, x)], []
    for row, name in enumerate(order):
        y = 4 + row * 28
        parts.append(_text(4, y + 14, name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "…"))
        for at, (kind, shares) in enumerate((("ref", reference), ("win", window), ("est", estimated))):
            if name in shares:
                width = x(shares[name]) - left
                parts.append(f'<rect class="{kind}" x="{left}" y="{y + at * 7}" width="{width:.1f}" height="6"/>')
        change = f"{reference.get(name, 0):.0%} → {now.get(name, 0):.0%}"
        description.append(f"{name} {change}")
        if name in low and name in high:
            a, b = x(low[name]), x(high[name])
            ends = "".join(f"M{edge:.1f},{y + 14.5}v5" for edge in (a, b))
            parts.append(f'<path class="interval" d="M{a:.1f},{y + 17}H{b:.1f}{ends}"/>')
            description[-1] += f" ({low[name]:.0%} to {high[name]:.0%})"
        parts.append(_text(338, y + 14, change, "end"))
    return _figure("Share of each class in %, most moved first", "; ".join(description), bottom + 16, parts)


def histogram(name: str, edges: Sequence[float], reference: Sequence[float], window: Sequence[float]) -> Markup:
    """Draw a property's distribution in the window over the reference's."""
    top = max([*reference, *window, 1e-9])
    parts = []
    for kind, shares in (("ref", reference), ("outline", window)):
        step = (RIGHT - LEFT) / max(len(shares), 1)
        points = [f"{LEFT},84"]
        for at, share in enumerate(shares):
            y = 84 - share / top * 76
            points += [f"{LEFT + at * step:.1f},{y:.1f}", f"{LEFT + (at + 1) * step:.1f},{y:.1f}"]
        parts.append(f'<polygon class="{kind}" points="{" ".join([*points, f"{RIGHT},84"])}"/>')
    middle = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    averages = [sum(m * s for m, s in zip(middle, shares, strict=False)) for shares in (reference, window)]
    parts.append(
        _text(LEFT, 97, formatting.measured_value(edges[0]))
        + _text(RIGHT, 97, formatting.measured_value(edges[-1]), "end")
    )
    means = [formatting.measured_value(average) for average in averages]
    description = f"mean about {means[0]} in the reference, {means[1]} in the window"
    unit = UNITS.get(name, "as measured")
    return _figure(f"{name.capitalize()} ({unit}), share of images", description, 101, parts)


def _points(history: EvidenceHistory) -> list[tuple[str, float, float]]:
    return [(t, float(p), float(e)) for t, p, e in history.history if e is not None and math.isfinite(e)]


def _ticks(top: float, bottom: float, x: Callable[[float], float]) -> str:
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.25, 0.5) if top / step <= 5)
    values = [step * count for count in range(int(top / step) + 1)]
    return "".join(
        f'<line class="axis" x1="{x(value):.1f}" y1="0" x2="{x(value):.1f}" y2="{bottom}"/>'
        + _text(x(value), bottom + 12, f"{value:.0%}", "middle")
        for value in values
    )


def _text(x: float, y: float, content: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _text_next_to(x: float, y: float, content: str) -> str:
    """Write next to a vertical line, on the side that has room."""
    return _text(x - 4, y, content, "end") if x > WIDTH / 2 else _text(x + 4, y, content)


def _date_prefix(iso: str) -> str:
    moment = dt.datetime.fromisoformat(iso).astimezone(dt.UTC)
    return "" if moment.date() == dt.datetime.now(dt.UTC).date() else f"{moment:%Y-%m-%d} "


def _figure(title: str, description: str, height: float, parts: Sequence[str]) -> Markup:
    body = Markup("".join(parts))  # noqa: S704 - numbers and escaped names only
    return Markup(
        '<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        "{body}</svg></figure>"
    ).format(title=title, width=WIDTH, height=f"{height:.0f}", label=f"{title}: {description}", body=body)
