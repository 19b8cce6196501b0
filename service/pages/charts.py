"""Charts as inline SVG: numbers in, safe markup out, each with a title, its units and a text alternative.

One unit of a view box is about one pixel on a phone.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from .. import svg
from ..inference.properties import UNITS
from . import formatting

WIDTH = 340
LEFT, RIGHT = 8, 332
MAX_NAME_LENGTH = 12  # characters of a class's name that are drawn
LETTER_WIDTH = 6.5  # mean width of a character in the font of the charts
CHANGE_WIDTH = 76  # width of the text to the right of the bars
MAX_CLASSES = 12  # classes that a chart shows


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
    parts.append(svg.text(LEFT, line - 4, "p = 0.01"))
    parts.append(svg.text(LEFT, 97, f"window {windows[0][0]}") + svg.text(RIGHT, 97, f"window {windows[-1][0]}", "end"))
    count = sum(shifted for _, _, shifted in windows)
    description = f"{count} of {len(windows)} windows drifted; the newest has p = {windows[-1][1]:.2g}"
    return svg.figure("p of each window, as −log₁₀ p: taller is stronger", description, WIDTH, 101, parts)


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
        parts.append(svg.text(4, y + 14, name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "…"))
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
        parts.append(svg.text(338, y + 14, change, "end"))
    return svg.figure("Share of each class in %, most moved first", "; ".join(description), WIDTH, bottom + 16, parts)


def histogram(name: str, edges: Sequence[float], reference: Sequence[float], window: Sequence[float]) -> Markup:
    """Draw a property's distribution in the window over the reference's."""
    top = max([*reference, *window, 1e-9])
    parts = [
        f'<polygon class="{kind}" points="{svg.outline(shares, top, LEFT, RIGHT, 84, 76)}"/>'
        for kind, shares in (("ref", reference), ("outline", window))
    ]
    middle = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    averages = [sum(m * s for m, s in zip(middle, shares, strict=False)) for shares in (reference, window)]
    parts.append(
        svg.text(LEFT, 97, formatting.measured_value(edges[0]))
        + svg.text(RIGHT, 97, formatting.measured_value(edges[-1]), "end")
    )
    means = [formatting.measured_value(average) for average in averages]
    description = f"mean about {means[0]} in the reference, {means[1]} in the window"
    unit = UNITS.get(name, "as measured")
    return svg.figure(f"{name.capitalize()} ({unit}), share of images", description, WIDTH, 101, parts)


def _ticks(top: float, bottom: float, x: Callable[[float], float]) -> str:
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.25, 0.5) if top / step <= 5)
    values = [step * count for count in range(int(top / step) + 1)]
    return "".join(
        f'<line class="axis" x1="{x(value):.1f}" y1="0" x2="{x(value):.1f}" y2="{bottom}"/>'
        + svg.text(x(value), bottom + 12, f"{value:.0%}", "middle")
        for value in values
    )
