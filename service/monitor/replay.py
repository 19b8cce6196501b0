"""Replays logged predictions through the monitor's own step, by the clock of the log and without writing anything."""

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ..settings import Settings
from ..store.label_log import LabelBatch
from ..store.log_batch import PredictionBatch
from .alert_rules import MAX_WAIT_FOR_ROWS
from .baseline_preparation import second_baseline
from .events import BaselineRequest, Event, EvidencePoint, Explanation, WindowRequest
from .further_shift_watch import FurtherShiftInput, PreparationFailure
from .loading import rebase_state
from .model_state import REFERENCE, WHOLE, ModelInput, ModelState, baseline_of, new_stream
from .model_step import advance
from .pace import Pace
from .prepared_reference import BaselineKey, PreparedReference
from .replay_cost import ReplayCost
from .replay_steps import EPOCH, microseconds, steps_of
from .replayed_incident import IncidentLog, ReplayedIncident
from .rows_in_order import ReadRows, in_order
from .stream_state import WindowSchedule
from .window_explanation import explain

INCIDENT_WINDOWS = 20  # windows of an incident that are tested as soon as they are full; later ones once an interval


class Replay:
    """The streams of one model on their way through its log.

    Windows are tested for alarms and during incidents. Routine windows of calm traffic decide nothing and are left
    out, for they would take most of the time.

    Parameters
    ----------
    model_id : int
    prepared : mapping
        The baseline of each stream by the name of its slice, and that of the model's reference under REFERENCE.
    keys : mapping
        What those baselines are, by the same names.
    settings : Settings
        The settings whose alarms are sought.
    read_rows : callable
        Returns the predictions with the given ids (m, 16), in any order, or None where they have gone.
    moments : sequence of datetime
        Times at which the number of predictions of every stream is noted in `positions_at`.
    pace : Pace, optional
        That of the model at the beginning; that of a new model by default.
    """

    def __init__(
        self,
        model_id: int,
        prepared: Mapping[str, PreparedReference],
        keys: Mapping[str, BaselineKey],
        settings: Settings,
        read_rows: ReadRows,
        moments: Sequence[dt.datetime] = (),
        pace: Pace | None = None,
    ) -> None:
        self._prepared = dict(prepared)
        self._keys = dict(keys)
        self._settings = settings
        self._read_rows = read_rows
        self._moments = sorted(set(moments), reverse=True)
        pace = pace or Pace()
        whole = new_stream(model_id, WHOLE, self._baseline(WHOLE), settings, pace=pace)
        self._state = ModelState(model_id, 0, 0, {WHOLE: whole}, pace=pace)
        self._incidents = IncidentLog()
        self._tested: dict[UUID, list[dt.datetime]] = {}
        self._windows = 0
        self._seconds = 0.0
        self._now = EPOCH
        self.positions_at: dict[dt.datetime, dict[str, int]] = {}
        self.points: list[EvidencePoint] = []  # points since the last call of `take_points`

    @property
    def incidents(self) -> tuple[ReplayedIncident, ...]:
        """The incidents so far, in the order in which they opened."""
        return self._incidents.incidents

    @property
    def cost(self) -> ReplayCost:
        """The cost of the replay so far."""
        return ReplayCost(
            self._state.whole.seen, self._seconds, self._windows, sum(map(int, self._state.rejected.values()))
        )

    @property
    def seen(self) -> dict[str, int]:
        """The number of predictions of each stream so far, by the name of its slice."""
        return {name: stream.seen for name, stream in self._state.streams.items()}

    @property
    def expected_run_time(self) -> float:
        """The expected run time of the whole model's detector, in predictions."""
        return self._state.whole.detector.expected_run_time

    @property
    def threshold(self) -> float:
        """The evidence in nats at which the whole model's detector alarms."""
        return self._state.whole.detector.threshold

    def take_points(self) -> list[EvidencePoint]:
        """Return the points of evidence since the last call."""
        points, self.points = self.points, []
        return points

    def process(self, batch: PredictionBatch) -> None:
        """Process predictions in the order of the log."""
        started = time.process_time()
        for part in steps_of(batch):
            now = part.span[1] if len(part) else self._now
            self._pass_time(part.span[0] if len(part) else now)
            self._note_moments(now, part.times)
            self._advance(ModelInput(batch=part), max(now, self._now))
        self._seconds += time.process_time() - started

    def process_labels(self, labels: LabelBatch, at: dt.datetime) -> None:
        """Process labels that came back by a time."""
        started = time.process_time()
        self._advance(ModelInput(labels=labels), max(at, self._now))
        self._seconds += time.process_time() - started

    def rebase(
        self, prepared: Mapping[str, PreparedReference], keys: Mapping[str, BaselineKey], at: dt.datetime
    ) -> None:
        """Compare streams with other baselines from now on; incidents of streams whose baseline was accepted end."""
        before, after = (
            {name: loaded.get(name, loaded[REFERENCE]) for name in self._state.streams} for loaded in (self._keys, keys)
        )
        self._prepared, self._keys = dict(prepared), dict(keys)
        bases = {name: self._baseline(name) for name in self._state.streams}
        for name in self._state.streams:
            if before[name].baseline_id != after[name].baseline_id:
                self._incidents.accept(name, at)
        self._state = rebase_state(self._state, before, after, bases, self._settings)

    def retire(self, at: dt.datetime) -> None:
        """End the streams with their incidents, as the retirement of a model does."""
        for name in self._state.streams:
            self._incidents.retire(name, at)
        seen = self._state.whole.seen
        whole = new_stream(self._state.model_id, WHOLE, self._baseline(WHOLE), self._settings, pace=self._state.pace)
        whole = replace(whole, seen=seen, windows=WindowSchedule(start=seen, covered=seen))
        self._state = replace(self._state, streams={WHOLE: whole})

    def finish(self, until: dt.datetime) -> None:
        """Let what still waits come to its end by a time."""
        self._pass_time(until)
        self._note_moments(until)

    def _baseline(self, name: str) -> PreparedReference:
        return baseline_of(self._prepared, name)

    def _pass_time(self, until: dt.datetime) -> None:
        """Let an alarm that waits for more predictions go out before a pause in the traffic ends, and streams end that
        have had none for long."""
        waits = any(stream.alarm or stream.second_alarm for stream in self._state.streams.values())
        pause = until - self._now
        if waits and pause > MAX_WAIT_FOR_ROWS:
            self._advance(ModelInput(), self._now + MAX_WAIT_FOR_ROWS)
        if self._state.whole.seen and pause > self._settings.retire_after:
            self.retire(until - pause + self._settings.retire_after)

    def _note_moments(self, now: dt.datetime, times: NDArray[np.int64] | None = None) -> None:
        """Note how many predictions each stream had at the moments up to now; of slices those of earlier steps."""
        while self._moments and self._moments[-1] <= now:
            moment = self._moments.pop()
            counts = self.seen
            if times is not None:
                counts[WHOLE] += int(np.count_nonzero(times < microseconds(moment)))
            self.positions_at[moment] = counts

    def _advance(self, incoming: ModelInput, now: dt.datetime) -> None:
        """Make a step, and further ones for the answers to what it requested."""
        self._now = now
        while True:
            prepared = {name: self._baseline(name) for name in (*self._state.streams, REFERENCE)}
            transition = advance(self._state, incoming, self._prepared | prepared, self._settings, now)
            self._state = transition.state
            self._record(transition.events, transition.retired)
            explanations = [self._explain(request) for request in transition.requests]
            further = self._further_shift_inputs(transition.baselines)
            if not explanations and not further:
                return
            incoming = ModelInput(explanations=explanations, further=further)

    def _record(self, events: Sequence[Event], retired: Sequence[str]) -> None:
        for name in retired:
            self._incidents.retire(name, self._now)
        for event in events:
            if isinstance(event, EvidencePoint):
                self.points.append(event)
            else:
                seen = self._state.streams[event.slice].seen if event.slice in self._state.streams else 0
                self._incidents.add(event, self._now, seen)

    def _explain(self, request: WindowRequest) -> Explanation:
        if not self._is_tested(request):
            return Explanation(request, None, self._now, self._now, skipped=True)
        self._windows += 1
        try:
            batch = in_order(self._read_rows(request.ids), request.ids)
            if batch is None:
                raise LookupError("its predictions are no longer in the log")
            report = explain(self._baseline(request.slice), batch)
            return Explanation(request, report, *batch.span)
        except Exception as error:
            return Explanation(request, None, self._now, self._now, error=str(error) or type(error).__name__)

    def _is_tested(self, request: WindowRequest) -> bool:
        if request.purpose != "incident":
            return request.purpose != "routine"
        incident = self._state.streams[request.slice].incident
        if incident is None:
            return False
        tested = self._tested.setdefault(incident.id, [])
        interval = dt.timedelta(seconds=self._settings.window_interval)
        if len(tested) >= INCIDENT_WINDOWS and self._now - tested[-1] < interval:
            return False
        tested[INCIDENT_WINDOWS:] = []
        tested.append(self._now)
        return True

    def _further_shift_inputs(self, requests: Sequence[BaselineRequest]) -> dict[str, FurtherShiftInput]:
        """Return what the watches for further shifts can go on with: new baselines, and predictions that wait."""
        baselines = {request.key: self._second_baseline(request) for request in requests}
        inputs: dict[str, FurtherShiftInput] = {}
        for name, stream in self._state.streams.items():
            watch = stream.further
            if watch is not None and (watch.key in baselines or (watch.second is not None and len(watch.waiting))):
                batch = in_order(self._read_rows(watch.next_ids), watch.next_ids)
                inputs[name] = FurtherShiftInput(watch.key, baselines.get(watch.key), len(watch.next_ids), batch)
        return inputs

    def _second_baseline(self, request: BaselineRequest) -> PreparedReference | PreparationFailure:
        try:
            batch = in_order(self._read_rows(request.ids), request.ids)
            if batch is None:
                raise LookupError("the predictions since the change are no longer in the log")
            return second_baseline(batch, self._baseline(request.slice), self._settings)
        except (LookupError, ValueError) as error:
            return PreparationFailure(str(error), self._now)
