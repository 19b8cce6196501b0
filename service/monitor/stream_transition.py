"""What goes into one step of a stream, what comes out of it, and the state in between."""

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

from ..settings import Settings
from .budget import stream_budget
from .events import BaselineRequest, Event, Explanation, WindowRequest
from .further_shift_watch import FurtherShiftInput
from .labels import FedBackLabels
from .pace import Pace
from .prepared_reference import PreparedReference
from .stream_state import StreamRows, StreamState


@dataclass(frozen=True)
class StreamInput:
    """The input of a stream's step: everything that came in since the last one.

    Parameters
    ----------
    rows : StreamRows, optional
        New predictions.
    labels : FedBackLabels, optional
        Labels that were fed back.
    explanations : tuple of Explanation
        Answers to window requests.
    further : FurtherShiftInput, optional
        What came in for the watch for further shifts.
    window_requested : bool, default False
        Whether a person has requested a test of the newest predictions.
    """

    rows: StreamRows | None = None
    labels: FedBackLabels | None = None
    explanations: tuple[Explanation, ...] = ()
    further: FurtherShiftInput | None = None
    window_requested: bool = False


@dataclass(frozen=True)
class StreamTransition:
    """The result of one step of a stream.

    Parameters
    ----------
    state : StreamState
        The state after the step.
    events : tuple of Event
        What is to be stored together with the state.
    requests : tuple of WindowRequest
        Windows to be tested apart from the detector.
    baseline : BaselineRequest, optional
        Traffic that a second detector is to be compared with.
    """

    state: StreamState
    events: tuple[Event, ...]
    requests: tuple[WindowRequest, ...]
    baseline: BaselineRequest | None = None


class StreamUpdate:
    """A stream within one step: the present state, which is replaced as a whole, and the results so far.

    Parameters
    ----------
    state : StreamState
        The state after the last step.
    prepared : PreparedReference
        The baseline of the stream.
    settings : Settings
    pace : Pace
        The rate of the model, from which the expected run times of the stream follow.
    now : datetime
        The time of the step.
    """

    def __init__(
        self, state: StreamState, prepared: PreparedReference, settings: Settings, pace: Pace, now: dt.datetime
    ) -> None:
        self.state = state
        self.prepared = prepared
        self.settings = settings
        self.pace = pace
        self.budget = stream_budget(settings, pace)
        self.now = now
        self.events: list[Event] = []
        self.requests: list[WindowRequest] = []
        self.baseline: BaselineRequest | None = None

    def replace_state(self, **values: Any) -> None:
        """Replace fields of the state."""
        self.state = replace(self.state, **values)

    def add_event(self, event: Event) -> None:
        """Append an event that is to be stored together with the state."""
        self.events.append(event)

    @property
    def has_open_incident(self) -> bool:
        """Whether an alert of the detector fires."""
        return self.state.incident is not None and self.state.incident.open

    def with_slice_name(self, summary: str) -> str:
        """Return a sentence that names the slice it is about, if it is about one."""
        return f"{self.state.slice}: {summary}" if self.state.slice else summary

    def count(self, **counts: int) -> None:
        """Add to counters of the status."""
        status = self.state.status
        sums = {name: getattr(status, name) + count for name, count in counts.items()}
        self.replace_state(status=replace(status, **sums))

    def count_error(self, stage: str, error: BaseException) -> None:
        """Count a failure in the status."""
        self.replace_state(status=self.state.status.with_error(stage, error))

    def transition(self) -> StreamTransition:
        """Return the results of the step."""
        requests = tuple(self.requests)
        state = replace(self.state, pending=(*self.state.pending, *requests))
        return StreamTransition(state, tuple(self.events), requests, self.baseline)
