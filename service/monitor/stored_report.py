"""The report of a window as it is stored: the statistics, and what pages need to show them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..drift import WindowReport


@dataclass(frozen=True)
class StoredReport:
    """A window report with the ids of its witnesses and the data of its charts.

    Parameters
    ----------
    window : WindowReport
        What the window test gave.
    reference_id : int
        The stored reference that the window was compared with.
    witnesses : tuple of dict
        The most atypical predictions: id, score, nearest reference rows.
    proportions : dict
        The share of each predicted label.
    histograms : tuple of dict
        For each image property its bins, and the shares of reference and window in them.
    overrides : mapping
        Values that replace those of the window: the prefix of a slice in its summary, the kind of its alert, what
        labels showed.
    """

    window: WindowReport
    reference_id: int
    witnesses: tuple[dict[str, Any], ...]
    proportions: dict[str, float]
    histograms: tuple[dict[str, Any], ...]
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tested(self) -> bool:
        """Whether the window was large enough to be tested; else it is neither calm nor drifted."""
        return self.window.state == "tested"

    @property
    def estimated_accuracy(self) -> float | None:
        """The accuracy estimated without labels."""
        return None if self.window.performance is None else self.window.performance.estimated_accuracy

    @property
    def lowest_accuracy(self) -> float | None:
        """The lower end of the interval of the accuracy estimated without labels."""
        return None if self.window.performance is None else self.window.performance.low

    def with_values(self, **values: Any) -> "StoredReport":
        """Return the report with some of its JSON values replaced."""
        return StoredReport(
            self.window,
            self.reference_id,
            self.witnesses,
            self.proportions,
            self.histograms,
            {**self.overrides, **values},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            **self.window.to_dict(),
            "reference": self.reference_id,
            "witnesses": list(self.witnesses),
            "proportions": self.proportions,
            "histograms": list(self.histograms),
            **self.overrides,
        }
