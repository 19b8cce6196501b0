"""One step of one model: its predictions are scored once, for the whole stream and for all of its slices."""

import datetime as dt
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..settings import Settings
from ..store.log_batch import PredictionBatch
from . import pending_windows
from .budget import stream_budget
from .model_state import WHOLE, ModelInput, ModelState, ModelTransition, baseline_of, new_stream
from .pace import Pace, watched
from .prepared_reference import PreparedReference
from .rows_by_stream import Members, labels_by_stream, score_rows
from .slices import SliceAssigner
from .stream_state import StreamState
from .stream_step import advance_stream, is_due
from .stream_transition import StreamInput, StreamTransition

UNSCORED = "unscored"  # reason: the detector's scores of the batch could not be computed

logger = logging.getLogger(__name__)


def advance(
    state: ModelState,
    incoming: ModelInput,
    prepared: Mapping[str, PreparedReference],
    settings: Settings,
    now: dt.datetime,
) -> ModelTransition:
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
    transitions: list[ModelTransition] = []
    for part, pace in _parts(incoming, state.pace):
        step = _ModelStep(state, prepared, settings, pace)
        if part.batch is not None:
            step.take_predictions(part.batch)
        step.take_rest(part)
        transitions.append(step.finish(part, now))
        state = transitions[-1].state
    return ModelTransition.joined(transitions)


def _parts(incoming: ModelInput, pace: Pace) -> Iterator[tuple[ModelInput, Pace]]:
    """Yield the predictions in parts within which the pace does not change, thinned; all else comes with the last."""
    batch = incoming.batch
    if batch is None or not len(batch):
        yield incoming, pace
        return
    parts = list(pace.parts(batch.times))
    for at, (rows, following) in enumerate(parts, start=1):
        part = batch if len(parts) == 1 else batch.select(rows)
        if following.watched_share < 1:
            part = part.select(watched(part.ids, following.watched_share))
        if at == len(parts):
            yield replace(incoming, batch=part), following
        else:
            yield ModelInput(batch=replace(part, rejected={})), following


class _ModelStep:
    """The streams of a model within one step, and what came in for each of them."""

    def __init__(
        self, state: ModelState, prepared: Mapping[str, PreparedReference], settings: Settings, pace: Pace
    ) -> None:
        self._before = state
        self._prepared = prepared
        self._settings = settings
        self._pace = pace
        self._streams = dict(state.streams)
        self._rejected = dict(state.rejected)
        self._retired: set[str] = set()
        self._inputs: dict[str, StreamInput] = {}
        slices = [name for name in state.streams if name]
        self._assigner = SliceAssigner(settings.slice_tags, settings.max_slices, slices, state.counts)

    def take_predictions(self, batch: PredictionBatch) -> None:
        """Open and retire the streams of slices, and give each stream its scored predictions."""
        for reason, count in batch.rejected.items():
            self._rejected[reason] = self._rejected.get(reason, 0) + count
        members = self._divide(batch)
        for name in self._retired:
            del self._streams[name]
        for name in members.keys() - self._streams.keys():
            baseline = baseline_of(self._prepared, name)
            self._streams[name] = new_stream(self._before.model_id, name, baseline, self._settings, pace=self._pace)
        rows, failures = score_rows(batch, members, self._prepared, self._streams)
        if WHOLE in failures:
            self._rejected[UNSCORED] = self._rejected.get(UNSCORED, 0) + len(batch)
        self._inputs = {name: StreamInput(rows=part) for name, part in rows.items()}

    def take_rest(self, incoming: ModelInput) -> None:
        """Give each stream its labels, the answers to its requests and to those of people."""
        if incoming.labels is not None:
            for name, labels in labels_by_stream(incoming.labels, self._assigner, self._streams).items():
                self._inputs[name] = replace(self._input(name), labels=labels)
        for explanation in incoming.explanations:
            name = explanation.request.slice
            present = self._input(name)
            self._inputs[name] = replace(present, explanations=(*present.explanations, explanation))
        for name, further in incoming.further.items():
            self._inputs[name] = replace(self._input(name), further=further)
        for name in incoming.requested_windows:
            self._inputs[name] = replace(self._input(name), window_requested=True)

    def finish(self, incoming: ModelInput, now: dt.datetime) -> ModelTransition:
        """Advance every stream for which something came in, or that is due."""
        batch, labels, before = incoming.batch, incoming.labels, self._before
        for name, stream in self._streams.items():
            if name not in self._inputs and is_due(stream, self._settings, now):
                self._inputs[name] = StreamInput()
        transitions = {
            name: _advance_isolated(
                self._streams[name], stream_input, baseline_of(self._prepared, name), self._settings, self._pace, now
            )
            for name, stream_input in self._inputs.items()
            if name in self._streams
        }
        after = ModelState(
            model_id=before.model_id,
            position=before.position if batch is None else batch.last,
            label_position=before.label_position if labels is None else labels.last,
            streams=self._streams | {name: transition.state for name, transition in transitions.items()},
            counts=before.counts if batch is None else self._assigner.state,
            rejected=self._rejected,
            pace=self._pace,
        )
        return ModelTransition(
            after,
            tuple(event for transition in transitions.values() for event in transition.events),
            tuple(request for transition in transitions.values() for request in transition.requests),
            tuple(item.baseline for item in transitions.values() if item.baseline is not None),
            tuple(sorted(self._retired)),
            frozenset(transitions),
        )

    def _divide(self, batch: PredictionBatch) -> Members:
        """Return the rows of the batch that belong to each stream, and note the slices that end."""
        slices = {name for name in self._streams if name}
        if not self._settings.slice_tags:
            self._retired = slices
            return {WHOLE: slice(None)}
        assignment = self._assigner.assign(batch.tags)
        self._retired = (slices - assignment.current) | (assignment.ended & self._streams.keys())
        current = {name: rows for name, rows in assignment.rows.items() if name in assignment.current}
        return {WHOLE: slice(None), **current}

    def _input(self, name: str) -> StreamInput:
        return self._inputs.get(name, StreamInput())


def _advance_isolated(
    state: StreamState,
    incoming: StreamInput,
    prepared: PreparedReference,
    settings: Settings,
    pace: Pace,
    now: dt.datetime,
) -> StreamTransition:
    """Advance a stream; if that fails, count the error and start its detector again, so that the others continue.

    What the failed step has not taken of labels, answers and requests is given to the detector that starts again: only
    predictions can be lost for it. Answers with which that fails, too, count as skipped.
    """
    labelled = 0 if state.labels is None else state.labels.monitor.count
    try:
        return advance_stream(state, incoming, prepared, settings, pace, now)
    except Exception as error:
        logger.exception("stream %s: its detector starts again after an error", state.key)
        restarted = _with_new_detector(state, prepared, settings, pace)
        restarted = replace(restarted, status=state.status.with_error("detector", error))
        if incoming.rows is not None:
            restarted = replace(restarted.with_recent(incoming.rows.ids), seen=state.seen + len(incoming.rows))
        are_labels_taken = state.labels is not None and state.labels.monitor.count != labelled
    rest = replace(incoming, rows=None, further=None, labels=None if are_labels_taken else incoming.labels)
    try:
        return advance_stream(restarted, rest, prepared, settings, pace, now)
    except Exception:
        logger.exception("stream %s: it takes no answers after an error", state.key)
        pending = restarted.pending
        for explanation in incoming.explanations:
            remaining = pending_windows.without(pending, explanation.request)
            pending = pending if remaining is None else remaining
        skipped = restarted.status.windows_skipped + len(restarted.pending) - len(pending)
        status = replace(restarted.status, windows_skipped=skipped)
        restarted = _with_new_detector(replace(restarted, pending=pending, status=status), prepared, settings, pace)
        return StreamTransition(restarted, (), ())


def _with_new_detector(state: StreamState, prepared: PreparedReference, settings: Settings, pace: Pace) -> StreamState:
    """Return the state of a stream whose detector starts again, without the alarms of the one before."""
    detector = prepared.detector(stream_budget(settings, pace).detector)
    return replace(state, detector=detector, alarm=None, further=None, second_alarm=None)
