"""The report of a window as it is stored: the statistics, and what pages need to show them."""

from dataclasses import dataclass, field, replace
from typing import cast

from ..drift import WindowReport
from ..store.report_json import VERSION, HistogramJson, ReportChanges, WindowReportJson, WitnessJson


@dataclass(frozen=True)
class StoredReport:
    """A window report with the ids of its witnesses and the data of its charts.

    Parameters
    ----------
    window : WindowReport
        What the window test gave.
    reference_id : int
        The stored reference that the window was compared with.
    witnesses : tuple of WitnessJson
        The most atypical predictions.
    proportions : dict
        The share of each predicted label.
    histograms : tuple of HistogramJson
        The bins of each image property.
    changes : ReportChanges
        Values that replace those of the window: the prefix of a slice in its summary, the kind of its alert, what
        labels showed.
    """

    window: WindowReport
    reference_id: int
    witnesses: tuple[WitnessJson, ...]
    proportions: dict[str, float]
    histograms: tuple[HistogramJson, ...]
    changes: ReportChanges = field(default_factory=ReportChanges)

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

    @property
    def largest_fall(self) -> float:
        """The fall of the accuracy at the lower end of its estimate without labels, or at the guess where that is
        unknown."""
        performance = self.window.performance
        if performance is None:
            return 0.0
        least = performance.estimated_accuracy if performance.method == "unknown" else performance.low
        return max(0.0, performance.reference_accuracy - least)

    @property
    def summary(self) -> str:
        """The sentence of the report."""
        return self.changes.get("summary", self.window.summary)

    def with_changes(self, changes: ReportChanges) -> "StoredReport":
        """Return the report with some of its JSON values replaced."""
        return replace(self, changes={**self.changes, **changes})

    def to_json(self) -> WindowReportJson:
        """Return the report as JSON values."""
        window = cast("WindowReportJson", self.window.to_dict())  # a test holds the declared keys against these
        return {
            **window,
            "version": VERSION,
            "reference": self.reference_id,
            "witnesses": list(self.witnesses),
            "proportions": self.proportions,
            "histograms": list(self.histograms),
            **self.changes,
        }
