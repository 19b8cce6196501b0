"""Charts as inline SVG: numbers in, safe markup out, each with a title, its units and a text alternative."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

WIDTH = 340  # units of every view box: about one pixel each on a phone
LEFT, RIGHT = 8, 8


def evidence(history: Sequence[Sequence[Any]], threshold: float | None, change_point: int | None = None) -> Markup:
    """Draw evidence over a stream's predictions; `history` holds (time, position, evidence)."""
    points = [(float(p), float(e)) for _, p, e in history if p is not None and e is not None and math.isfinite(e)]
    if len(points) < 2:
        return Markup("")
    first, last = points[0][0], points[-1][0]
    top = max([e for _, e in points] + [threshold or 0.0, 1e-9]) * 1.1

    def x(position: float) -> float:
        return LEFT + (position - first) / max(last - first, 1) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return 96 - max(value, 0) / top * 84

    path = " ".join(f"{x(p):.1f},{y(e):.1f}" for p, e in points)
    parts = [f'<polyline class="line" points="{path}"/><line class="axis" x1="8" y1="96" x2="332" y2="96"/>']
    words = f"evidence {points[-1][1]:.1f} after {last:,.0f} predictions"
    if threshold is not None:
        parts.append(
            f'<line class="limit" x1="8" y1="{y(threshold):.1f}" x2="332" y2="{y(threshold):.1f}"/>'
            f'<text x="8" y="{y(threshold) - 4:.1f}">alarm at {threshold:.1f}</text>'
        )
        words += f", alarm at {threshold:.1f}"
    if change_point is not None and first <= change_point <= last:
        parts.append(f'<line class="change" x1="{x(change_point):.1f}" y1="8" x2="{x(change_point):.1f}" y2="96"/>')
        words += f", change estimated at prediction {change_point:,}"
    parts.append(
        f'<text x="8" y="111">{first:,.0f}</text><text x="332" y="111" text-anchor="end">{last:,.0f} predictions</text>'
    )
    return _figure("Evidence of drift (no unit)", words, 116, parts)


def p_values(windows: Sequence[tuple[int, float, bool]]) -> Markup:
    """Draw p-values of windows (id, p, drifted), oldest first, on a scale where up is stronger evidence."""
    if not windows:
        return Markup("")
    heights = [min(-math.log10(max(p, 1e-12)), 12.0) for _, p, _ in windows]
    top = max([*heights, 2.0])
    step = (WIDTH - LEFT - RIGHT) / len(windows)
    parts = ['<line class="axis" x1="8" y1="76" x2="332" y2="76"/>']
    for at, ((_, _, drifted), height) in enumerate(zip(windows, heights, strict=True)):
        tall = max(height / top * 64, 1)
        kind = "bar moved" if drifted else "bar"
        parts.append(
            f'<rect class="{kind}" x="{LEFT + at * step + 1:.1f}" y="{76 - tall:.1f}"'
            f' width="{min(max(step - 2, 1), 20):.1f}" height="{tall:.1f}"/>'
        )
    count = sum(moved for _, _, moved in windows)
    words = f"{count} of the last {len(windows)} windows drifted; the newest has p = {windows[-1][1]:.2g}"
    return _figure("p of the last windows (−log₁₀ p, taller is stronger)", words, 82, parts)


def proportions(
    reference: Mapping[str, float],
    window: Mapping[str, float],
    estimated: Mapping[str, float],
    low: Mapping[str, float],
    high: Mapping[str, float],
    limit: int = 12,
) -> Markup:
    """Draw shares per class: reference, predicted in the window and estimated with its interval; most moved first."""
    now = {**window, **estimated}
    order = sorted({*reference, *now}, key=lambda c: -abs(now.get(c, 0.0) - reference.get(c, 0.0)))[:limit]
    values = [m.get(c, 0.0) for m in (reference, window, estimated, high) for c in order]
    top = max([*values, 1e-9])
    if not order:
        return Markup("")
    parts, words = [], []
    for row, name in enumerate(order):
        y = 4 + row * 36
        short = name if len(name) <= 11 else name[:10] + "…"
        parts.append(f'<text x="4" y="{y + 17}">{escape(short)}</text>')
        for at, (kind, shares) in enumerate((("ref", reference), ("win", window), ("est", estimated))):
            if name in shares:
                width = max(shares[name], 0) / top * 200
                parts.append(f'<rect class="{kind}" x="84" y="{y + at * 9}" width="{width:.1f}" height="7"/>')
        if name in low and name in high:
            a, b = (84 + max(m[name], 0) / top * 200 for m in (low, high))
            parts.append(f'<line class="interval" x1="{a:.1f}" y1="{y + 21.5}" x2="{b:.1f}" y2="{y + 21.5}"/>')
        share = f"{reference.get(name, 0):.0%}→{now.get(name, 0):.0%}"
        parts.append(f'<text x="338" y="{y + 17}" text-anchor="end">{share}</text>')
        words.append(f"{name} {share}")
    return _figure("Share of each class (%)", "; ".join(words), 36 * len(order) + 4, parts)


def histogram(name: str, edges: Sequence[float], reference: Sequence[float], window: Sequence[float]) -> Markup:
    """Draw a property's distribution in the window over the reference's."""
    top = max([*reference, *window, 1e-9])
    parts = []
    for kind, shares in (("ref", reference), ("outline", window)):
        step = (WIDTH - LEFT - RIGHT) / max(len(shares), 1)
        points = [f"{LEFT},84"]
        for at, share in enumerate(shares):
            y = 84 - share / top * 76
            points += [f"{LEFT + at * step:.1f},{y:.1f}", f"{LEFT + (at + 1) * step:.1f},{y:.1f}"]
        parts.append(f'<polygon class="{kind}" points="{" ".join([*points, f"{WIDTH - RIGHT},84"])}"/>')
    middle = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    means = [sum(m * s for m, s in zip(middle, shares, strict=False)) for shares in (reference, window)]
    parts.append(
        f'<text x="8" y="99">{edges[0]:.3g}</text><text x="332" y="99" text-anchor="end">{edges[-1]:.3g}</text>'
    )
    words = f"mean about {means[0]:.3g} in the reference, {means[1]:.3g} in the window"
    return _figure(f"{name} (share of images; filled reference, outlined window)", words, 104, parts)


def _figure(title: str, words: str, height: int, parts: Sequence[str]) -> Markup:
    body = Markup("".join(parts))  # noqa: S704 - numbers and escaped names only
    return Markup(
        '<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        "{body}</svg></figure>"
    ).format(title=title, width=WIDTH, height=height, label=f"{title}: {words}", body=body)
