"""What a remedy did and what it brings: the values that every remedy returns and the report prints."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import TidemarkError


class Unfit(TidemarkError):
    """A remedy cannot be made of what is there: what it needs, and what there is."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What a remedy changes, measured on data held back from its fitting.

    `low` and `high` bound the improvement (positive is better, whatever the metric's direction) with 95 % confidence.
    """

    metric: str  # "accuracy", "log-loss" or "mmd"
    before: float
    after: float
    improvement: float
    low: float
    high: float
    measured_on: str  # in words, such as "reference reweighted to the estimated priors, 5-fold cross-validation"
    estimated: bool  # True where no labelled target data backs it

    @property
    def gains(self) -> bool:
        """Whether the interval of the improvement lies above zero."""
        return self.low > 0


@dataclass(frozen=True, slots=True)
class Remedy:
    """One cure: what it is, what it brings, and what was written."""

    name: str  # as `--remedy` names it
    kind: str  # the shift that it is for: "label", "covariate" or "concept"
    summary: str  # one sentence for a person
    gains: tuple[Gain, ...] = ()
    exported: bool = False  # whether a bundle or switch that changes answers was written
    files: tuple[str, ...] = ()  # relative to the output folder
    code: dict[str, str] = field(default_factory=dict)  # lines to paste, by the library that they are for
    pictures: tuple[str, ...] = ()  # SVG elements, or <img> elements with a data URI, made by us alone
    missing: str = ""  # what else would be written, and with what, as a sentence
    details: dict[str, Any] = field(default_factory=dict)  # as JSON can hold them

    @property
    def gaining(self) -> bool:
        """Whether some metric gains and none surely loses."""
        return any(gain.gains for gain in self.gains) and not any(gain.high < 0 for gain in self.gains)

    def to_dict(self) -> dict[str, Any]:
        """Return the remedy as report.json holds it: all but its pictures."""
        values = asdict(self)
        del values["pictures"]
        return values | {"gains": [asdict(gain) | {"gains": gain.gains} for gain in self.gains]}
