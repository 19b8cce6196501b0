"""A bar chart as SVG, readable on light and on dark ground."""

from collections.abc import Mapping
from html import escape

WIDTH, ROW, LEFT, RIGHT, TOP = 720, 30, 210, 80, 44  # pixels
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}"
    ".bar{fill:#8c959f}.own{fill:#0969da}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7681}.own{fill:#4493f8}}"
)


def bars(title: str, values: Mapping[str, float], tidemark: str) -> str:
    """Return a horizontal bar a value, largest first; `own` begins the names of the bars to stand out."""
    rows = sorted(values.items(), key=lambda item: -item[1])
    scale = (WIDTH - LEFT - RIGHT) / max(values.values())
    height = TOP + ROW * len(rows) + 8
    text = "; ".join(f"{name} {value:.0f}" for name, value in rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(f"{title}: {text}", quote=True)}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="8" y="24">{escape(title)}</text>',
    ]
    for row, (name, value) in enumerate(rows):
        y = TOP + ROW * row
        kind, length = "own" if name.startswith(tidemark) else "bar", scale * value
        parts.append(f'<text x="{LEFT - 10}" y="{y + 17}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect class="{kind}" x="{LEFT}" y="{y + 3}" width="{scale * value:.1f}" height="{ROW - 10}" rx="3"/>'
        )
        parts.append(f'<text x="{LEFT + length + 8:.1f}" y="{y + 17}">{value:,.0f}</text>')
    return "\n".join([*parts, "</svg>", ""])
