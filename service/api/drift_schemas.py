"""What clients read of streams and their windows: the models of the JSON of `/drift`."""

from typing import Self

from pydantic import BaseModel, Field

from ..alerts.schemas import BaselineSummary
from ..store import further_shift_status
from ..store.baselines import Baseline
from ..store.label_evidence_json import AccuracyJson
from ..store.report_json import RehearsedShiftJson, ServedWindowJson
from ..store.stream_status import DetectableChange, StreamStatus
from ..store.streams import StreamRow
from ..store.watch_status import State, Watching
from ..store.windows import WindowRow
from .budget_text import false_alarm_budget
from .window_reports import window_report


class Survival(BaseModel):
    """The accuracy of a stream's model under the image operations that were rehearsed for its reference."""

    stream: str
    images: int = Field(description="Labelled images of each rehearsal.")
    rehearsals: int = Field(description="All rehearsals, mixtures of two operations included.")
    unchanged_accuracy: float
    shifts: list[RehearsedShiftJson]
    left_out: list[str] = Field([], description="What was not rehearsed because the time was up.")


class ModelName(BaseModel):
    """The name and the version of a model."""

    name: str
    version: str


class WatchingState(BaseModel):
    """The progress of the monitor with the predictions of a model."""

    state: State
    reason: str | None
    position: int
    written: int


class FalseAlarmBudget(BaseModel):
    """The expected run time of the stream's detector in its predictions, and what all streams of the model and their
    labels may raise together: about one false alarm in `seconds`. Keys from `model_predictions` on are missing until
    the rate of the model is known."""

    expected_run_time: float | None
    rate: float | None
    seconds: float | None
    model_predictions: float | None = None
    model_rate: float | None = None
    assumed_rate: bool | None = None
    watched_share: float | None = None
    text: str | None = None

    @classmethod
    def from_status(cls, status: StreamStatus) -> Self:
        """Return the budget of a stream's status."""
        budget = status.budget
        if budget is None:
            return cls(expected_run_time=status.expected_run_time, rate=status.rate, seconds=None)
        return cls(
            expected_run_time=status.expected_run_time,
            rate=status.rate,
            seconds=budget.seconds,
            model_predictions=budget.predictions,
            model_rate=budget.rate,
            assumed_rate=budget.is_assumed,
            watched_share=budget.watched_share,
            text=false_alarm_budget(budget),
        )


class DetectableShare(BaseModel):
    """When a change of a class share would be seen, in predictions and at the stream's rate in seconds."""

    class_share: tuple[float, float]
    predictions: int | None
    seconds: float | None

    @classmethod
    def from_change(cls, change: DetectableChange, rate: float | None) -> Self:
        """Return a change at the stream's rate in predictions a second."""
        return cls(
            class_share=(change.before, change.after),
            predictions=change.predictions,
            seconds=change.predictions / rate if change.predictions and rate else None,
        )


class FurtherShifts(BaseModel):
    """Whether a further shift would be seen while an incident is open."""

    state: further_shift_status.State
    waiting: int = Field(description="Predictions that the detector of further shifts has still to process.")
    missed: int = Field(description="Predictions of this incident that it will not process.")
    reason: str | None = Field(description="Why the detector could not be prepared.")

    @classmethod
    def from_status(cls, status: StreamStatus) -> Self | None:
        """Return the state of a stream's status; None while no incident is open."""
        further = status.further_shifts
        if further is None:
            return None
        return cls(state=further.state, waiting=further.waiting, missed=further.missed, reason=further.reason)


class StreamState(BaseModel):
    """The drift state of a stream without its last window."""

    stream: str
    model: ModelName
    slice: str | None
    state: str
    kind: str
    since: str | None
    reference: int | None
    baseline: BaselineSummary | None
    predictions: int
    lag: int
    watching: WatchingState | None
    evidence: float | None
    threshold: float | None
    change_point: int | None
    false_alarm_budget: FalseAlarmBudget
    detectable: list[DetectableShare]
    feedback: AccuracyJson | None
    errors_only: int | None = Field(
        description="Number of labels if only wrong predictions seem to be labelled, from which no accuracy follows."
    )
    note: str | None
    further_shifts: FurtherShifts | None
    further_shifts_missed: int = Field(description="Predictions of all incidents in which no further shift was sought.")
    rejected: dict[str, int]
    windows_skipped: int
    errors: dict[str, int]
    last_error: str | None

    @classmethod
    def from_row(cls, row: StreamRow, watch: Watching | None, accepted: Baseline | None) -> Self:
        """Return a stored stream as clients read it."""
        status = StreamStatus.from_json(row.status)
        watching = None
        if watch is not None:
            watching = WatchingState(
                state=watch.state, reason=watch.reason, position=watch.position, written=watch.written
            )
        return cls(
            stream=row.stream,
            model=ModelName(name=row.model_name, version=row.model_version),
            slice=row.slice or None,
            state=row.state,
            kind=row.kind,
            since=row.since.isoformat() if row.since else None,
            reference=row.reference_id,
            baseline=None if accepted is None else BaselineSummary.from_row(accepted),
            predictions=row.seen,
            lag=0 if watch is None or row.slice else watch.lag,
            watching=watching,
            evidence=status.evidence,
            threshold=status.threshold,
            change_point=status.change_point,
            false_alarm_budget=FalseAlarmBudget.from_status(status),
            detectable=[DetectableShare.from_change(change, status.rate) for change in status.detectable],
            feedback=status.feedback.to_json() if status.feedback else None,
            errors_only=status.errors_only,
            note=status.note,
            further_shifts=FurtherShifts.from_status(status),
            further_shifts_missed=status.further_shifts_missed,
            rejected=dict(row.rejected),
            windows_skipped=status.windows_skipped,
            errors=dict(status.errors),
            last_error=status.last_error,
        )

    def with_window(self, last: WindowRow | None) -> dict[str, object]:
        """Return the JSON values of a `Stream`; the report is passed on as it was stored."""
        values: dict[str, object] = self.model_dump(mode="json", exclude_unset=True)
        return values | {"last_window": window_report(last) if last else None}


class Stream(StreamState):
    """The drift state of a stream."""

    last_window: ServedWindowJson | None


class Streams(BaseModel):
    """The drift state of every stream."""

    streams: list[Stream]


class Windows(BaseModel):
    """Window reports, newest first."""

    windows: list[ServedWindowJson]
    next: int | None = Field(description="The `before` of the page after this one; null at the end.")
