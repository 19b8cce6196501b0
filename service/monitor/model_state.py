"""The state of one model between two steps of the monitor, what goes into a step and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..settings import Settings
from ..store.label_log import LabelBatch
from ..store.log_batch import PredictionBatch
from .budget import stream_budget
from .events import BaselineRequest, Event, Explanation, WindowRequest
from .further_shift_watch import FurtherShiftInput
from .labels import start_labels
from .pace import Pace
from .prepared_reference import PreparedReference
from .slices import SliceCounts
from .stream_state import StreamState

WHOLE = ""  # the name of the stream of a model's whole traffic
REFERENCE = "reference"  # the key of the model's reference itself among the prepared baselines


@dataclass(frozen=True)
class ModelState:
    """The state of a model's streams at a position of its log.

    Parameters
    ----------
    model_id : int
    position, label_position : int
        The last prediction and the last label that were processed.
    streams : dict
        The state of every stream by the name of its slice, WHOLE for the whole model.
    counts : mapping
        The counters that assign predictions to slices.
    rejected : dict
        Predictions that could not be processed, by reason.
    pace : Pace
        The rate of the model's predictions, from which its expected run time and its thinning follow.
    """

    model_id: int
    position: int
    label_position: int
    streams: dict[str, StreamState]
    counts: SliceCounts = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)

    @property
    def whole(self) -> StreamState:
        """The state of the whole model's stream."""
        return self.streams[WHOLE]


@dataclass(frozen=True)
class ModelInput:
    """The input of a model's step: everything that came in since the last one.

    Parameters
    ----------
    batch : PredictionBatch, optional
        The next predictions of the log.
    labels : LabelBatch, optional
        The next labels that were fed back.
    explanations : sequence of Explanation
        Answers to window requests of the model's streams.
    further : mapping
        What came in for watches for further shifts, by the name of the slice.
    requested_windows : set of str
        The streams of which a person has requested a window test, by the name of the slice.
    """

    batch: PredictionBatch | None = None
    labels: LabelBatch | None = None
    explanations: Sequence[Explanation] = ()
    further: Mapping[str, FurtherShiftInput] = field(default_factory=dict)
    requested_windows: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ModelTransition:
    """The result of a step of a model.

    Parameters
    ----------
    state : ModelState
        The state after the step.
    events : tuple of Event
        What is to be stored in the same transaction as the new position.
    requests : tuple of WindowRequest
        Windows to be tested apart from the detector.
    baselines : tuple of BaselineRequest
        Traffic that second detectors are to be compared with.
    retired : tuple of str
        The slices whose streams ended.
    changed : frozenset of str
        The streams whose state changed.
    """

    state: ModelState
    events: tuple[Event, ...]
    requests: tuple[WindowRequest, ...]
    baselines: tuple[BaselineRequest, ...]
    retired: tuple[str, ...]
    changed: frozenset[str]

    @classmethod
    def joined(cls, transitions: Sequence["ModelTransition"]) -> "ModelTransition":
        """Return steps that follow each other as one; there is at least one."""
        if len(transitions) == 1:
            return transitions[0]
        return cls(
            transitions[-1].state,
            tuple(event for item in transitions for event in item.events),
            tuple(request for item in transitions for request in item.requests),
            tuple(request for item in transitions for request in item.baselines),
            tuple(sorted({name for item in transitions for name in item.retired})),
            frozenset().union(*(item.changed for item in transitions)),
        )

    def changes_watch(self, streams: Mapping[str, StreamState]) -> bool:
        """Check whether a watch for further shifts has started, ended or alarmed: a replay would do so elsewhere."""
        states = self.state.streams
        return any(states[name].watch != before.watch for name, before in streams.items() if name in states)


def new_stream(
    model_id: int, name: str, prepared: PreparedReference, settings: Settings, seen: int = 0, pace: Pace | None = None
) -> StreamState:
    """Return the state of a stream that has processed nothing.

    Parameters
    ----------
    pace : Pace, optional
        That of the model; that of a new model by default.
    """
    labels = start_labels(prepared, settings.accuracy_tolerance)
    detector = prepared.detector(stream_budget(settings, pace).detector)
    return StreamState(f"{model_id}/{name}", name, seen, detector, labels=labels)


def baseline_of(prepared: Mapping[str, PreparedReference], name: str) -> PreparedReference:
    """Return the baseline of a stream; a slice without one of its own is compared with the model's reference."""
    return prepared[name] if name in prepared else prepared[REFERENCE]
