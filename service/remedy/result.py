"""Results of remedies: what a remedy wrote, and its measured improvements."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict

from ..drift import Reference
from ..drift.types import BoolArray, Float32Array
from ..errors import TidemarkError


class RemedyNotApplicable(TidemarkError):
    """A remedy cannot be created from the data at hand: the text says what it needs and what there is."""


class ClassShareJson(TypedDict):
    """The share of a class in the reference and the span, with its interval and its importance weight."""

    label: str
    reference: float
    estimated: float
    low: float
    high: float
    weight: float


class ConfusionJson(TypedDict):
    """The counts of each class (row) by predicted class (column), before a remedy and after it."""

    classes: list[str]
    before: list[list[int]]
    after: list[list[int]]


class RelabelJson(TypedDict):
    """A prediction that is to be labelled, and the probability with which it was drawn."""

    id: str
    predicted: str
    confidence: float
    witness: float
    probability: float


class RemedyDetails(TypedDict, total=False):
    """Further figures of a remedy, as report.json holds them; each remedy has its own of these."""

    proportions: list[ClassShareJson]
    calibration_slope: float
    by_calibration_alone: dict[str, float]
    labels: int
    further_labels: dict[str, int | None]
    weight_of_reference: float
    penalty: float
    confusion: ConfusionJson
    effective_sample_size: float
    reference_rows: int
    strength: float
    reverse_accuracy: dict[str, float]
    changed_answers: float
    log_loss: dict[str, float]
    labelled: int
    predictions: int
    first: list[RelabelJson]


class ImprovementJson(TypedDict):
    """An improvement as report.json holds it; `gains` if its interval lies above zero."""

    metric: str
    before: float
    after: float
    improvement: float
    low: float
    high: float
    measured_on: str
    estimated: bool
    gains: bool


class RemedyJson(TypedDict):
    """A remedy as report.json holds it."""

    name: str
    kind: str
    summary: str
    exported: bool
    files: list[str]
    code: dict[str, str]
    missing: str
    details: RemedyDetails
    gains: list[ImprovementJson]
    rehearsed: ImprovementJson | None


@dataclass(frozen=True, slots=True)
class Improvement:
    """A change of one metric by a remedy, measured on data held back from its fitting.

    `low` and `high` bound the improvement (positive is better, whatever the metric's direction) with 95 % confidence.
    """

    metric: str  # "accuracy", "log-loss" or "mmd"
    before: float
    after: float
    amount: float  # value after minus value before, with the sign that makes larger better
    low: float
    high: float
    measured_on: str  # data in words, such as "reference reweighted to the estimated priors, 5-fold cross-validation"
    estimated: bool  # True where no labelled target data backs it

    @property
    def is_significant(self) -> bool:
        """Whether the interval of the improvement lies above zero."""
        return self.low > 0

    def to_dict(self) -> ImprovementJson:
        """Return the improvement with the keys of report.json, where `amount` is called `improvement`."""
        return {
            "metric": self.metric,
            "before": self.before,
            "after": self.after,
            "improvement": self.amount,
            "low": self.low,
            "high": self.high,
            "measured_on": self.measured_on,
            "estimated": self.estimated,
            "gains": self.is_significant,
        }


Answers = Callable[[Float32Array], Float32Array]  # from embeddings (m, d) to posteriors (m, k)

# Fits a remedied model again, from a part of the reference and without some of the labelled images given, so that its
# accuracy on them can be measured.
Refit = Callable[[Reference, BoolArray], Answers]


@dataclass(frozen=True, slots=True)
class RemedyResult:
    """One remedy: what it is, what it improves, and which files were written."""

    name: str  # name for `--remedy`
    kind: str  # the shift that it is for: "label", "covariate" or "concept"
    summary: str  # one sentence for a person
    improvements: tuple[Improvement, ...] = ()
    exported: bool = False  # True if a bundle or switch that changes answers was written
    files: tuple[str, ...] = ()  # relative to the output folder
    code: dict[str, str] = field(default_factory=dict)  # lines to paste, by the library that they are for
    pictures: tuple[str, ...] = ()  # SVG elements, or <img> elements with a data URI, made by us alone
    missing: str = ""  # a sentence: what else could be written, and what that needs
    details: RemedyDetails = field(default_factory=RemedyDetails)
    refit: Refit | None = None  # set where the remedy changes what follows the embedding
    rehearsed: Improvement | None = None  # improvement of the accuracy on the span by rehearsals of both models

    @property
    def improves(self) -> bool:
        """Whether some metric improves significantly and none gets significantly worse."""
        return any(improvement.is_significant for improvement in self.improvements) and not any(
            improvement.high < 0 for improvement in self.improvements
        )

    def to_dict(self) -> RemedyJson:
        """Return the remedy as report.json holds it, without its pictures."""
        return {
            "name": self.name,
            "kind": self.kind,
            "summary": self.summary,
            "exported": self.exported,
            "files": list(self.files),
            "code": self.code,
            "missing": self.missing,
            "details": self.details,
            "gains": [improvement.to_dict() for improvement in self.improvements],
            "rehearsed": None if self.rehearsed is None else self.rehearsed.to_dict(),
        }
