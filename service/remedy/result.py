"""Results of remedies: what a remedy wrote, and its measured improvements."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import TidemarkError


class RemedyNotApplicable(TidemarkError):
    """A remedy cannot be created from the data at hand: the text says what it needs and what there is."""


@dataclass(frozen=True, slots=True)
class Improvement:
    """A change of one metric by a remedy, measured on data held back from its fitting.

    `low` and `high` bound the improvement (positive is better, whatever the metric's direction) with 95 % confidence.
    """

    metric: str  # "accuracy", "log-loss" or "mmd"
    before: float
    after: float
    amount: float  # after minus before, with the sign that makes larger better
    low: float
    high: float
    measured_on: str  # in words, such as "reference reweighted to the estimated priors, 5-fold cross-validation"
    estimated: bool  # True where no labelled target data backs it

    @property
    def is_significant(self) -> bool:
        """Whether the interval of the improvement lies above zero."""
        return self.low > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the improvement with the keys of report.json, where `amount` is called `improvement`."""
        values = asdict(self)
        return values | {"improvement": values.pop("amount"), "gains": self.is_significant}


@dataclass(frozen=True, slots=True)
class RemedyResult:
    """One remedy: what it is, what it improves, and which files were written."""

    name: str  # as `--remedy` names it
    kind: str  # the shift that it is for: "label", "covariate" or "concept"
    summary: str  # one sentence for a person
    improvements: tuple[Improvement, ...] = ()
    exported: bool = False  # whether a bundle or switch that changes answers was written
    files: tuple[str, ...] = ()  # relative to the output folder
    code: dict[str, str] = field(default_factory=dict)  # lines to paste, by the library that they are for
    pictures: tuple[str, ...] = ()  # SVG elements, or <img> elements with a data URI, made by us alone
    missing: str = ""  # what else would be written, and with what, as a sentence
    details: dict[str, Any] = field(default_factory=dict)  # as JSON can hold them

    @property
    def improves(self) -> bool:
        """Whether some metric improves significantly and none gets significantly worse."""
        return any(improvement.is_significant for improvement in self.improvements) and not any(
            improvement.high < 0 for improvement in self.improvements
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the remedy as report.json holds it, without its pictures."""
        values = asdict(self)
        del values["pictures"], values["improvements"]
        return values | {"gains": [improvement.to_dict() for improvement in self.improvements]}
