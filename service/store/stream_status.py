"""The small status of a stream that pages, `/drift` and `/metrics` read: typed, versioned, without detector state."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TypedDict, cast

from .errors import reason
from .further_shift_status import FurtherShiftJson, FurtherShiftStatus
from .label_evidence_json import AccuracyJson

VERSION = 2  # version of the JSON; version 1 had no such key, and held the evidence's history


class BudgetJson(TypedDict):
    """An alarm budget as JSON."""

    seconds: float
    predictions: float
    rate: float
    is_assumed: bool
    watched_share: float
    is_duration: bool


class DetectableJson(TypedDict):
    """A detectable change as JSON."""

    before: float
    after: float
    predictions: int | None


class StatusJson(TypedDict, total=False):
    """A status as JSON; what is not known is left out."""

    version: int
    evidence: float
    threshold: float
    expected_run_time: float
    budget: BudgetJson
    detectable: Sequence[DetectableJson]
    rate: float
    kinds: Sequence[str]
    change_point: int
    change_range: Sequence[int]
    note: str
    feedback: AccuracyJson
    errors_only: int
    windows: int
    windows_skipped: int
    rejected: Mapping[str, int]
    errors: Mapping[str, int]
    last_error: str
    repeats: float
    further_shifts: FurtherShiftJson
    further_shifts_missed: int


@dataclass(frozen=True)
class MeasuredAccuracy:
    """The accuracy measured on the last labels that were fed back, with its 95 % interval.

    Parameters
    ----------
    n : int
        The number of labels.
    on_labels : float, optional
        The share of right predictions among the labelled ones, where these are not a random sample of all and
        `accuracy` is corrected for that; None where they may be one.
    """

    accuracy: float
    low: float
    high: float
    n: int
    on_labels: float | None = None

    @property
    def is_corrected(self) -> bool:
        """Whether the labelled predictions are not a random sample of all."""
        return self.on_labels is not None

    def to_json(self) -> AccuracyJson:
        """Return the accuracy as JSON values."""
        return AccuracyJson(accuracy=self.accuracy, low=self.low, high=self.high, n=self.n, on_labels=self.on_labels)


@dataclass(frozen=True)
class AlarmBudget:
    """The false alarms that the streams of a model have together, their labels included: about one in a time.

    Parameters
    ----------
    seconds : float
        The time.
    predictions : float
        The same in predictions of the model, thinned ones included.
    rate : float
        The predictions a second by which one follows from the other.
    is_assumed : bool
        Whether the rate is not yet that of a whole day.
    watched_share : float
        The share of the predictions that is watched; those of a fast model are thinned by id.
    is_duration : bool
        Whether a time was asked for, not a number of predictions.
    """

    seconds: float
    predictions: float
    rate: float
    is_assumed: bool
    watched_share: float = 1.0
    is_duration: bool = True


@dataclass(frozen=True)
class DetectableChange:
    """A change of a class share, and the watched predictions until its alarm; None if the baseline cannot show it."""

    before: float
    after: float
    predictions: int | None


@dataclass(frozen=True)
class StreamStatus:
    """The monitor's report of a stream, in addition to the stream's own columns.

    Parameters
    ----------
    evidence : float, optional
        The detector's statistic in nats.
    threshold : float, optional
        The evidence at which it alarms.
    expected_run_time : float, optional
        Watched predictions of the stream between two false alarms of its detector.
    budget : AlarmBudget, optional
        The false alarms that all streams of the model have together.
    detectable : tuple of DetectableChange
        When changes of a class share would be seen.
    rate : float, optional
        Watched predictions a second, lately.
    kinds : tuple of str
        The kinds of drift that are firing.
    change_point, change_range : int and pair of int, optional
        The number of the stream's predictions before the change, and between which two numbers it lies.
    note : str, optional
        A sentence for the page, such as that the traffic is not independent.
    feedback : MeasuredAccuracy, optional
        The accuracy on the last labels.
    errors_only : int, optional
        The number of labels if predictions seem to be labelled only where they are wrong, from which no accuracy
        follows: `feedback` is then None.
    windows, windows_skipped : int
        Windows that were tested, and due ones that were not, for they would have taken too much time.
    rejected : mapping of str to int
        Logged predictions that could not be processed, by reason.
    errors : mapping of str to int
        Failures of a window test or of a label step, by stage.
    last_error : str, optional
        The newest of them, in one line.
    repeats : float, optional
        The share of the recent predictions that repeat an earlier one.
    further_shifts : FurtherShiftStatus, optional
        Whether a further shift would be seen; None while no incident is open.
    further_shifts_missed : int
        Predictions during incidents in which no further shift was sought.
    """

    evidence: float | None = None
    threshold: float | None = None
    expected_run_time: float | None = None
    budget: AlarmBudget | None = None
    detectable: tuple[DetectableChange, ...] = ()
    rate: float | None = None
    kinds: tuple[str, ...] = ()
    change_point: int | None = None
    change_range: tuple[int, int] | None = None
    note: str | None = None
    feedback: MeasuredAccuracy | None = None
    errors_only: int | None = None
    windows: int = 0
    windows_skipped: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    last_error: str | None = None
    repeats: float | None = None
    further_shifts: FurtherShiftStatus | None = None
    further_shifts_missed: int = 0

    def with_error(self, stage: str, error: BaseException) -> "StreamStatus":
        """Return the status with one more failure of a stage."""
        errors = {**self.errors, stage: self.errors.get(stage, 0) + 1}
        return replace(self, errors=errors, last_error=f"{stage}: {reason(error)}")

    def to_json(self) -> StatusJson:
        """Return the status as JSON values; what is not known is left out."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return cast("StatusJson", values | {"version": VERSION})

    @classmethod
    def from_json(cls, values: StatusJson) -> "StreamStatus":
        """Return the status that `to_json` gave, of this version or of an earlier one."""
        names = {item.name for item in fields(cls)}
        status = cls(**{name: value for name, value in values.items() if name in names})  # type: ignore[arg-type]
        between, measured, budget = values.get("change_range"), values.get("feedback"), values.get("budget")
        further = values.get("further_shifts")
        return replace(
            status,
            change_range=(between[0], between[1]) if between else None,
            feedback=MeasuredAccuracy(**measured) if measured else None,
            budget=AlarmBudget(**budget) if budget else None,
            detectable=tuple(DetectableChange(**item) for item in values.get("detectable", ())),
            kinds=tuple(values.get("kinds", ())),
            further_shifts=FurtherShiftStatus(**further) if further else None,
        )
