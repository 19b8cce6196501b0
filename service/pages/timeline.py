"""A picture of incidents over time as a file: one lane for the recorded incidents and one for each set of settings."""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import escape

from .. import svg

WIDTH = 720  # pixels
LEFT, RIGHT = 12, WIDTH - 12
TOP = 62  # pixels above the first lane: title and legend
HEADING = 20  # pixels of a lane's heading
BARS = 22  # pixels of the bars of a lane
LINE = 40  # pixels of a lane's line of evidence
GAP = 14  # pixels between two lanes
MIN_BAR = 2.0  # pixels of the shortest bar
MAX_RATIO = 30.0  # evidence over threshold above which a line is cut off
TICKS = 6  # dates below the lanes, at the most
COLOURS = {
    "covariate": ("#0969da", "#4493f8"),
    "label": ("#bc4c00", "#f0883e"),
    "both": ("#8250df", "#ab7df8"),
    "concept": ("#cf222e", "#ff7b72"),
    "harm": ("#a40e26", "#ffa198"),
    "repeats": ("#4d2d00", "#d29922"),
    "unknown": ("#57606a", "#8b949e"),
}  # colours of each kind of shift, on light and on dark ground
OTHER_KIND = "unknown"
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}.name{font-weight:600}"
    ".dim{fill:#57606a}.axis{stroke:#d0d7de}.limit{stroke:#cf222e;stroke-dasharray:4 3}"
    ".line{fill:none;stroke:#57606a;stroke-width:1.2}.change{stroke:#1f2328;stroke-dasharray:2 3}"
    + "".join(f".{kind}{{fill:{light}}}" for kind, (light, _) in COLOURS.items())
    + "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9198a1}.axis{stroke:#30363d}"
    ".limit{stroke:#ff7b72}.line{stroke:#9198a1}.change{stroke:#e6edf3}"
    + "".join(f".{kind}{{fill:{dark}}}" for kind, (_, dark) in COLOURS.items())
    + "}"
)


@dataclass(frozen=True)
class Bar:
    """An incident from its alarm to its end.

    Parameters
    ----------
    start, end : datetime
    kind : str
    label : str
        What a pointer over the bar tells.
    """

    start: dt.datetime
    end: dt.datetime
    kind: str
    label: str


@dataclass(frozen=True)
class Lane:
    """A row of a timeline.

    Parameters
    ----------
    name : str
    note : str
        What stands behind the name.
    bars : sequence of Bar
    line : sequence of float, optional
        Evidence over its threshold in equal parts of the time; not a number where there is none.
    """

    name: str
    note: str = ""
    bars: Sequence[Bar] = ()
    line: Sequence[float] | None = field(default=None)

    @property
    def height(self) -> int:
        """Pixels from the heading to the end."""
        return HEADING + BARS + (LINE if self.line is not None else 0)


@dataclass(frozen=True)
class Mark:
    """A moment at which the traffic is known to have changed."""

    at: dt.datetime
    label: str = ""


def timeline(title: str, span: tuple[dt.datetime, dt.datetime], lanes: Sequence[Lane], marks: Sequence[Mark]) -> str:
    """Return the picture as an SVG file."""
    since, until = span
    bottom = TOP + sum(lane.height + GAP for lane in lanes)
    height = bottom + 22

    def x(moment: dt.datetime) -> float:
        return LEFT + min(max((moment - since) / (until - since), 0.0), 1.0) * (RIGHT - LEFT)

    parts = [svg.text(LEFT, 22, title, style="title"), *_legend(lanes)]
    for mark in marks:
        at = x(mark.at)
        parts.append(f'<line class="change" x1="{at:.1f}" y1="{TOP - 4}" x2="{at:.1f}" y2="{bottom}"/>')
        anchor = "end" if at > WIDTH * 0.8 else "start"
        parts.append(svg.text(at + (-3 if anchor == "end" else 3), TOP - 6, mark.label, anchor, "dim"))
    y = TOP
    for lane in lanes:
        parts.append(svg.text(LEFT, y + 14, lane.name, style="name"))
        parts.append(svg.text(RIGHT, y + 14, lane.note, "end", "dim"))
        y += HEADING
        for bar in lane.bars:
            start, end = x(bar.start), x(bar.end)
            kind = bar.kind if bar.kind in COLOURS else OTHER_KIND
            parts.append(
                f'<rect class="{kind}" x="{start:.1f}" y="{y + 2}" width="{max(end - start, MIN_BAR):.1f}" '
                f'height="{BARS - 6}" rx="2"><title>{escape(bar.label)}</title></rect>'
            )
        y += BARS
        parts.append(f'<line class="axis" x1="{LEFT}" y1="{y}" x2="{RIGHT}" y2="{y}"/>')
        if lane.line is not None:
            parts += _evidence(lane.line, y)
            y += LINE
        y += GAP
    for number in range(TICKS):
        moment = since + (until - since) * number / (TICKS - 1)
        anchor = "start" if number == 0 else "end" if number == TICKS - 1 else "middle"
        parts.append(svg.text(x(moment), bottom + 14, _date(moment, until - since), anchor, "dim"))
    alternative = "; ".join(f"{lane.name}: {lane.note or f'{len(lane.bars)} incidents'}" for lane in lanes)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img" aria-label="{escape(f"{title}. {alternative}")}">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            *parts,
            "</svg>",
            "",
        ]
    )


def _evidence(line: Sequence[float], top: float) -> list[str]:
    """Return the line of evidence below `top`, on a log scale on which the alarm is half way up."""
    scale = math.log(MAX_RATIO)
    base, limit = top + LINE, top + LINE / 2
    step = (RIGHT - LEFT) / len(line)

    def y(ratio: float) -> float:
        share = math.log(min(max(ratio, 1 / MAX_RATIO), MAX_RATIO)) / scale
        return limit - share * (LINE / 2 - 3)

    parts = [f'<line class="limit" x1="{LEFT}" y1="{limit:.1f}" x2="{RIGHT}" y2="{limit:.1f}"/>']
    points: list[str] = []
    for cell, ratio in enumerate([*line, math.nan]):
        if math.isfinite(ratio):
            points.append(f"{LEFT + (cell + 0.5) * step:.1f},{y(ratio):.1f}")
        elif points:
            parts.append(f'<polyline class="line" points="{" ".join(points)}"/>')
            points = []
    parts.append(f'<line class="axis" x1="{LEFT}" y1="{base}" x2="{RIGHT}" y2="{base}"/>')
    return parts


def _legend(lanes: Sequence[Lane]) -> list[str]:
    present_kinds = {bar.kind if bar.kind in COLOURS else OTHER_KIND for lane in lanes for bar in lane.bars}
    parts, at = [], float(LEFT)
    for kind in COLOURS:
        if kind in present_kinds:
            parts.append(f'<rect class="{kind}" x="{at:.1f}" y="32" width="10" height="10" rx="2"/>')
            parts.append(svg.text(at + 14, 41, kind))
            at += 30 + 6.5 * len(kind)
    return parts


def _date(moment: dt.datetime, length: dt.timedelta) -> str:
    moment = moment.astimezone(dt.UTC)
    return f"{moment:%Y-%m-%d}" if length > dt.timedelta(days=4) else f"{moment:%m-%d %H:%M}"
