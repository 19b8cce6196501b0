"""One step of one model: its predictions are scored once, for the whole stream and for all of its slices."""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..settings import Settings
from ..store.label_log import NONE_REPLACED, LabelBatch
from ..store.log_batch import PredictionBatch
from .budget import run_time
from .events import BaselineRequest, Event, Explanation, WindowRequest
from .labels import FedBackLabels, LabelState
from .missing_properties import filled
from .prepared_reference import PreparedReference
from .slices import SliceAssigner
from .state import SecondDetector, StreamRows, StreamState
from .stream_step import StreamInput, StreamTransition, advance_stream, is_due, with_error

WHOLE = ""  # the name of the stream of a model's whole traffic
REFERENCE = "reference"  # the key of the model's reference itself among the prepared baselines
UNSCORED = "unscored"  # reason: the detector's scores of the batch could not be computed

logger = logging.getLogger(__name__)


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
    """

    model_id: int
    position: int
    label_position: int
    streams: dict[str, StreamState]
    counts: Mapping[str, Any] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def whole(self) -> StreamState:
        """The state of the whole model's stream."""
        return self.streams[WHOLE]


@dataclass(frozen=True)
class ModelInput:
    """What came in for a model since its last step; explanations and second detectors by the name of the slice."""

    batch: PredictionBatch | None = None
    labels: LabelBatch | None = None
    explanations: Sequence[Explanation] = ()
    seconds: Mapping[str, SecondDetector] = field(default_factory=dict)


@dataclass(frozen=True)
class Transition:
    """What a step of a model gives.

    Parameters
    ----------
    state : ModelState
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


def new_stream(model_id: int, name: str, prepared: PreparedReference, settings: Settings, seen: int = 0) -> StreamState:
    """Return the state of a stream that has processed nothing."""
    labels = None if prepared.labelled is None else LabelState.start(prepared.labelled)
    key = f"{model_id}/{name}"
    return StreamState(key, name, seen, prepared.detector(run_time(settings)), labels=labels)


def advance(
    state: ModelState,
    incoming: ModelInput,
    prepared: Mapping[str, PreparedReference],
    settings: Settings,
    now: dt.datetime,
) -> Transition:
    """Process what came in for a model.

    Parameters
    ----------
    state : ModelState
        The state after the last step; it must not be used again, for its detectors move forward.
    prepared : mapping
        The baseline of each stream by the name of its slice; that of streams that are missing is under REFERENCE.
    now : datetime
        The time of the step.
    """
    batch, labels = incoming.batch, incoming.labels
    assigner = SliceAssigner(
        settings.slice_tags, settings.max_slices, [name for name in state.streams if name], state.counts
    )
    inputs: dict[str, StreamInput] = {}
    retired: set[str] = set()
    rejected = dict(state.rejected)
    streams = dict(state.streams)
    if batch is not None:
        for reason, count in batch.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
        members: dict[str, NDArray[np.int64] | slice] = {WHOLE: slice(None)}
        if settings.slice_tags:
            assignment = assigner.assign(batch.tags)
            members |= {name: rows for name, rows in assignment.rows.items() if name in assignment.current}
            retired = {name for name in streams if name and name not in assignment.current} | (
                assignment.ended & streams.keys()
            )
        else:
            retired = {name for name in streams if name}
        for name in retired:
            del streams[name]
        for name in members.keys() - streams.keys():
            streams[name] = new_stream(state.model_id, name, _of(prepared, name), settings)
        rows, failures = _scored(batch, members, prepared, streams)
        for name in failures:
            rejected[UNSCORED] = rejected.get(UNSCORED, 0) + (len(batch) if name == WHOLE else 0)
        inputs = {name: StreamInput(rows=part) for name, part in rows.items()}
    if labels is not None:
        for name, part in _labels(labels, assigner, streams).items():
            inputs[name] = replace(inputs.get(name, StreamInput()), labels=part)
    for explanation in incoming.explanations:
        name = explanation.request.slice
        given = inputs.get(name, StreamInput())
        inputs[name] = replace(given, explanations=(*given.explanations, explanation))
    for name, second in incoming.seconds.items():
        inputs[name] = replace(inputs.get(name, StreamInput()), second=second)
    for name, stream in streams.items():
        if name not in inputs and is_due(stream, settings, now):
            inputs[name] = StreamInput()
    transitions = {
        name: _isolated(streams[name], given, _of(prepared, name), settings, now)
        for name, given in inputs.items()
        if name in streams
    }
    streams |= {name: transition.state for name, transition in transitions.items()}
    following = ModelState(
        model_id=state.model_id,
        position=state.position if batch is None else batch.last,
        label_position=state.label_position if labels is None else labels.last,
        streams=streams,
        counts=assigner.state if batch is not None else state.counts,
        rejected=rejected,
    )
    return Transition(
        following,
        tuple(event for transition in transitions.values() for event in transition.events),
        tuple(request for transition in transitions.values() for request in transition.requests),
        tuple(item.baseline for item in transitions.values() if item.baseline is not None),
        tuple(sorted(retired)),
        frozenset(transitions),
    )


def _of(prepared: Mapping[str, PreparedReference], name: str) -> PreparedReference:
    """Return the baseline of a stream; a slice without one of its own is compared with the model's reference."""
    return prepared[name] if name in prepared else prepared[REFERENCE]


def _isolated(
    state: StreamState, incoming: StreamInput, prepared: PreparedReference, settings: Settings, now: dt.datetime
) -> StreamTransition:
    """Advance a stream; if that fails, count the error and start its detector again, so that the others go on."""
    try:
        return advance_stream(state, incoming, prepared, settings, run_time(settings), now)
    except Exception as error:
        logger.exception("stream %s: its detector starts again after an error", state.key)
        count = 0 if incoming.rows is None else len(incoming.rows)
        fresh = replace(
            state,
            detector=prepared.detector(run_time(settings)),
            seen=state.seen + count,
            alarm=None,
            second=None,
            second_alarm=None,
            status=with_error(state.status, "detector", error),
        )
        return StreamTransition(fresh, (), ())


def _scored(
    batch: PredictionBatch,
    members: Mapping[str, NDArray[np.int64] | slice],
    prepared: Mapping[str, PreparedReference],
    streams: Mapping[str, StreamState],
) -> tuple[dict[str, StreamRows], list[str]]:
    """Return the scored predictions of each stream, and the streams whose predictions could not be scored.

    Streams with the same baseline share the scores of the whole batch.
    """
    rows: dict[str, StreamRows] = {}
    shared: dict[int, StreamRows | None] = {}
    failures: list[str] = []
    if not len(batch):
        return rows, failures
    for name, index in members.items():
        baseline = _of(prepared, name)
        key = id(baseline.scores)
        if key not in shared:
            shared[key] = _score(batch, baseline, streams[name])
        whole = shared[key]
        if whole is None:
            failures.append(name)
        else:
            part = whole.part(index)
            if len(part):
                rows[name] = part
    return rows, failures


def _score(batch: PredictionBatch, baseline: PreparedReference, stream: StreamState) -> StreamRows | None:
    properties = filled(baseline.reference, batch.ids, batch.properties)
    try:
        scores = stream.detector.score(batch.embeddings, batch.probabilities, properties)
    except Exception:
        logger.exception("stream %s: %d predictions cannot be scored", stream.key, len(batch))
        return None
    return StreamRows(batch.ids, scores, batch.embeddings, batch.probabilities, properties)


def _labels(batch: LabelBatch, assigner: SliceAssigner, streams: Mapping[str, StreamState]) -> dict[str, FedBackLabels]:
    """Return the labels of each stream."""
    if not len(batch):
        return {}
    ids = np.frombuffer(b"".join(key.bytes for key in batch.ids), np.uint8).reshape(-1, 16)
    is_first = batch.replaced == NONE_REPLACED
    everything = FedBackLabels(ids, batch.predicted, batch.probabilities, batch.labels, is_first)
    members: dict[str, list[int]] = {}
    for row, tags in enumerate(batch.tags):
        for name in assigner.of(tags):
            if name in streams:
                members.setdefault(name, []).append(row)
    parts = {name: everything.rows(np.array(index, dtype=np.int64)) for name, index in members.items()}
    return {WHOLE: everything, **parts}
