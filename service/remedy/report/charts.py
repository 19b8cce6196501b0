"""The report's own charts as inline SVG: class shares and improvements, each with its interval."""

from collections.abc import Sequence

from markupsafe import Markup

from ... import svg
from ..result import ClassShareJson, Improvement

WIDTH = 340
NAME = 104  # width of what is written left of the marks
VALUE = 92  # width of the values right of the bars, in pixels
ROW = 20
MAX_CLASSES = 12  # classes
LETTERS = 12  # letters of a class's name that are shown
KEY = Markup(
    '<p class="key"><span>reference</span><span class="est">this span, with its 95 % interval</span> share × weight</p>'
)


def shares(rows: Sequence[ClassShareJson]) -> Markup:
    """Draw each class's share in the reference and the span, those that moved most first.

    Parameters
    ----------
    rows : sequence of ClassShareJson
        Rows with label, reference, estimated, low, high and weight.
    """
    ordered = sorted(rows, key=lambda row: -abs(row["estimated"] - row["reference"]))[:MAX_CLASSES]
    top = max(max(row["high"], row["reference"]) for row in ordered) or 1.0

    def x(share: float) -> float:
        return NAME + share / top * (WIDTH - NAME - VALUE)

    parts = []
    for number, row in enumerate(ordered):
        y = number * ROW + 4
        parts.append(f'<rect class="ref" x="{NAME}" y="{y}" width="{x(row["reference"]) - NAME:.1f}" height="5"/>')
        parts.append(f'<rect class="est" x="{NAME}" y="{y + 6}" width="{x(row["estimated"]) - NAME:.1f}" height="5"/>')
        parts.append(f'<path class="interval" d="M{x(row["low"]):.1f} {y + 8.5}H{x(row["high"]):.1f}"/>')
        parts.append(svg.text(NAME - 5, y + 9, _shorten(row["label"]), "end"))
        parts.append(svg.text(WIDTH - VALUE + 5, y + 9, f"{row['estimated']:.1%} × {row['weight']:.2f}"))
    description = "; ".join(f"{row['label']}: {row['reference']:.1%} to {row['estimated']:.1%}" for row in ordered)
    left_out = f", the {MAX_CLASSES} of {len(rows)} classes that moved most" if len(rows) > len(ordered) else ""
    return svg.figure(f"Class shares{left_out}", description, WIDTH, len(ordered) * ROW + 4, parts) + KEY


def draw_improvement(improvement: Improvement) -> Markup:
    """Draw the interval of an improvement next to zero."""
    reach = max(abs(improvement.low), abs(improvement.high), 1e-12) * 1.1
    middle = 60.0
    style = "better" if improvement.is_significant else "unsure"

    def x(value: float) -> float:
        return middle + value / reach * middle

    parts = [
        f'<path class="axis" d="M{middle} 2V18"/>',
        f'<path class="interval" d="M{x(improvement.low):.1f} 10H{x(improvement.high):.1f}"/>',
        f'<circle class="{style}" cx="{x(improvement.amount):.1f}" cy="10" r="4"/>',
    ]
    body = Markup("".join(parts))  # noqa: S704 - numbers only
    return Markup('<svg class="small" viewBox="0 0 120 20" aria-hidden="true">{}</svg>').format(body)


def _shorten(name: str) -> str:
    return name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"
