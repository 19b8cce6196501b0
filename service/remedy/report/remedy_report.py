"""The report of a run: `report.json`, and `report.html`, which needs nothing but itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from ...kinds import KIND_DESCRIPTIONS
from ..accuracy_balance import BalanceJson, LossJson, accuracy_balance, accuracy_loss
from ..remedy_context import RemedyContext
from ..result import Improvement, RemedyDetails, RemedyJson, RemedyResult
from . import charts

JSON, HTML = "report.json", "report.html"
ESTIMATED = "No labels of this span back it: it is an estimate, right only if nothing else changed."
MAX_CONFUSION_CLASSES = 8  # classes in a table of confusions

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(),
    trim_blocks=True,
    lstrip_blocks=True,
)


class Skipped(NamedTuple):
    """A remedy that was chosen and could not be made."""

    name: str
    reason: str


class Picture(NamedTuple):
    """A picture of the span itself: SVG or <img> markup made by us alone."""

    title: str
    markup: str


class ConfusionTables(NamedTuple):
    """Confusions of some classes before and after a remedy; `all` if these are all classes of the model."""

    classes: list[str]
    all: bool
    tables: dict[str, list[list[int]]]


class SkippedJson(TypedDict):
    """A remedy that could not be made, and why."""

    name: str
    reason: str


class ReportedRemedyJson(RemedyJson):
    """A remedy with the reason why it was chosen and what it regains."""

    why: str
    accuracy: BalanceJson


class ReportJson(TypedDict):
    """The content of report.json; `window` is the report of the window test as the library gives it."""

    stream: str
    since: str
    until: str
    predictions: int
    labelled: int
    kinds: list[str]
    window: dict[str, object]
    accuracy_lost: LossJson | None
    remedies: list[ReportedRemedyJson]
    skipped: list[SkippedJson]


def write(
    context: RemedyContext,
    remedies: Sequence[RemedyResult],
    reasons: dict[str, str],
    skipped: Sequence[Skipped],
    pictures: Sequence[Picture] = (),
) -> ReportJson:
    """Write both reports and return the content of report.json.

    Parameters
    ----------
    reasons : dict[str, str]
        Why each remedy was chosen, by its name.
    """
    span = context.span
    lost = accuracy_loss(context)
    balances = {remedy.name: accuracy_balance(lost, remedy.improvements, remedy.rehearsed) for remedy in remedies}
    content: ReportJson = {
        "stream": span.stream,
        "since": span.since.isoformat(),
        "until": span.until.isoformat(),
        "predictions": len(span),
        "labelled": int(span.labelled.sum()),
        "kinds": sorted(context.kinds),
        "window": context.report.to_dict(),
        "accuracy_lost": accuracy_balance(lost, ()).to_dict()["lost"],
        "remedies": [
            {**remedy.to_dict(), "why": reasons[remedy.name], "accuracy": balances[remedy.name].to_dict()}
            for remedy in remedies
        ],
        "skipped": [{"name": entry.name, "reason": entry.reason} for entry in skipped],
    }
    (context.out / JSON).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    page = _templates.get_template("report.html").render(
        context=context,
        report=context.report,
        span=span,
        kinds=[KIND_DESCRIPTIONS[kind] for kind in sorted(context.kinds)],
        remedies=remedies,
        balances=balances,
        reasons=reasons,
        skipped=skipped,
        pictures=[(picture.title, Markup(picture.markup)) for picture in pictures],  # noqa: S704 - made by us
        charts=charts,
        estimated=ESTIMATED,
        verdict=verdict,
        number=number,
        confusions=confusions,
        drawn=lambda remedy: [Markup(picture) for picture in remedy.pictures],  # noqa: S704 - made by us
    )
    (context.out / HTML).write_text(page, encoding="utf-8")
    return content


def verdict(remedy: RemedyResult) -> tuple[str, str]:
    """Return a remedy's verdict in words, and the style class that it is written in."""
    if not remedy.improvements:
        return "not measured", "dim"
    if remedy.improves:
        measured = any(improvement.is_significant and not improvement.estimated for improvement in remedy.improvements)
        return "improves" if measured else "improves, as estimated", "better"
    if any(improvement.high < 0 for improvement in remedy.improvements):
        return "gets worse", "worse"
    return "does not improve", "unsure"


def number(improvement: Improvement, value: float, signed: bool = False) -> str:
    """Return a value of an improvement's metric as text."""
    sign = "+" if signed else ""
    if improvement.metric == "accuracy":
        return f"{value * 100:{sign}.2f}" + ("\u00a0points" if signed else "\u00a0%")
    return f"{value:{sign}.4f}"


def confusions(details: RemedyDetails) -> ConfusionTables | None:
    """Return confusions before and after for the classes that changed most, or None."""
    confusion = details.get("confusion")
    if confusion is None:
        return None
    before, after = confusion["before"], confusion["after"]
    k = range(len(before))
    change = [sum(abs(after[i][j] - before[i][j]) + abs(after[j][i] - before[j][i]) for j in k) for i in k]
    listed = sorted(sorted(k, key=lambda i: -change[i])[:MAX_CONFUSION_CLASSES])
    return ConfusionTables(
        classes=[confusion["classes"][i] for i in listed],
        all=len(listed) == len(before),
        tables={
            name: [[table[i][j] for j in listed] for i in listed]
            for name, table in (("before", before), ("after", after))
        },
    )
