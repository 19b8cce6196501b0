"""A model that a monitor owns: its state in memory, and what the loop has to remember around it."""

import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..settings import Settings
from ..store.monitor_progress import Target
from .checkpoint_schedule import CheckpointSchedule
from .events import ALERT_EVENTS, Explanation
from .model_state import WHOLE, ModelState, ModelTransition
from .prepared_reference import BaselineKey
from .second_baselines import SecondBaselines
from .status_schedule import StatusSchedule
from .step_retries import MAX_STEP, StepRetries
from .stream_state import StreamState
from .stream_step import is_due


@dataclass
class OwnedModel:
    """One of the models that a monitor holds the lease of.

    Parameters
    ----------
    model_id : int
    targets : dict
        The rows of its streams by the name of the slice, as last read.
    state : ModelState, optional
        The state of its streams; None until it is loaded, and after a failure.
    ids : dict
        The ids of its streams by the name of the slice.
    loaded_keys : dict
        What the detectors in memory are compared with, by the name of the slice.
    stored_position : int
        The position of the log that Postgres has.
    unstored : set of str
        The streams that have changed since the last checkpoint.
    explanations : list of Explanation
        Answers to window requests, for the next step.
    second_baselines : SecondBaselines
        What was prepared for the watches for further shifts.
    parked : bool
        Whether the state was stored and dropped from memory until something new comes.
    stepped_at : float
        The monotonic time of the last step.
    """

    model_id: int
    targets: dict[str, Target]
    state: ModelState | None = None
    ids: dict[str, int] = field(default_factory=dict)
    loaded_keys: dict[str, BaselineKey] = field(default_factory=dict)
    stored_position: int = 0
    unstored: set[str] = field(default_factory=set)
    explanations: list[Explanation] = field(default_factory=list)
    second_baselines: SecondBaselines = field(default_factory=SecondBaselines)
    parked: bool = False
    stepped_at: float = 0.0
    retries: StepRetries = field(default_factory=StepRetries)
    checkpoints: CheckpointSchedule = field(default_factory=CheckpointSchedule)
    statuses: StatusSchedule = field(default_factory=StatusSchedule)
    _begun_windows: dict[str, dt.datetime] = field(default_factory=dict)
    _error: BaseException | None = None

    @property
    def whole(self) -> Target:
        """The row of the whole model's stream."""
        return self.targets[WHOLE]

    @property
    def reference_id(self) -> int:
        """The reference of the model."""
        if self.whole.reference_id is None:
            raise LookupError(f"model {self.model_id} has no reference")
        return self.whole.reference_id

    @property
    def keys(self) -> dict[str, BaselineKey]:
        """The baseline that each stream is to be compared with."""
        return {
            name: BaselineKey(target.reference_id or self.reference_id, target.calibration_id, target.baseline_id)
            for name, target in self.targets.items()
        }

    @property
    def keys_changed(self) -> bool:
        """Whether streams are to be compared with something else than before, or were retired."""
        if self.state is None:
            return False
        keys = self.keys
        return any(keys.get(name) != key for name, key in self.loaded_keys.items())

    @property
    def written(self) -> int:
        """The last position of the log, as last read."""
        return self.whole.written

    @property
    def labels_written(self) -> int:
        """The last position of the labels, as last read."""
        return self.whole.labels_written

    @property
    def backlog(self) -> int:
        """Predictions that are logged and not processed."""
        return self.written - (self.whole.position if self.state is None else self.state.position)

    @property
    def processed(self) -> tuple[int, int] | None:
        """The last positions of the log and of the labels that are processed; None until the state is loaded."""
        return None if self.state is None else (self.state.position, self.state.label_position)

    @property
    def has_more(self) -> bool:
        """Whether predictions or labels wait that the last poll has seen."""
        state = self.state
        return state is not None and (state.position < self.written or state.label_position < self.labels_written)

    @property
    def requested_windows(self) -> dict[str, dt.datetime]:
        """The streams of which a person has requested a window test that has not begun, with the request's time."""
        requested = {name: target.window_requested_at for name, target in self.targets.items()}
        return {name: at for name, at in requested.items() if at is not None and at != self._begun_windows.get(name)}

    def took_over(self) -> None:
        """Note that a step has used all answers and requests: a step that fails before needs them again."""
        self._begun_windows |= self.requested_windows
        self.explanations.clear()
        self.second_baselines.keep(self.streams)

    @property
    def streams(self) -> Mapping[str, StreamState]:
        """The states of the streams by the name of the slice; none until they are loaded."""
        return {} if self.state is None else self.state.streams

    @property
    def has_answers(self) -> bool:
        """Whether a step has answers of window tests to take, or something to do for further shifts."""
        return bool(self.explanations) or any(self.second_baselines.ready(self.streams))

    @property
    def wakes(self) -> bool:
        """Whether a parked model has something new."""
        whole = self.whole
        has_more = whole.written > whole.position or whole.labels_written > whole.label_position
        return has_more or bool(self.requested_windows)

    def park(self) -> None:
        """Drop the stored state from memory until something new comes."""
        self.state, self.parked = None, True

    def has_input(self, now: dt.datetime, settings: Settings) -> bool:
        """Check whether there is anything for a step to process."""
        if self.has_more or self.has_answers or self.requested_windows:
            return True
        return self.state is not None and any(is_due(item, settings, now) for item in self.state.streams.values())

    def load(self, state: ModelState, has_checkpoint: bool) -> None:
        """Begin with the state of the last checkpoint, or with one that is to be stored at the first step."""
        self.ids = {name: target.id for name, target in self.targets.items()}
        self.loaded_keys = {name: key for name, key in self.keys.items() if name in state.streams}
        self.stored_position = self.whole.position
        if self._error is not None:
            status = state.whole.status.with_error("step", self._error)
            state = replace(state, streams={**state.streams, WHOLE: replace(state.whole, status=status)})
        self.state, self.parked, self._error = state, False, None
        self.unstored = set() if has_checkpoint else set(state.streams)
        self.checkpoints.processed, self.checkpoints.has_checkpoint = 0, has_checkpoint

    def succeeded(self) -> None:
        """Note that a step was made."""
        self.stepped_at = time.monotonic()
        if self.state is not None:
            self.retries.succeeded(self.state.position)

    def failed(self, error: BaseException) -> None:
        """Forget the state, which the last checkpoint replaces, and wait before a smaller step is tried."""
        self._error = error
        self.retries.failed(None if self.state is None else self.state.position)
        self.state = None
        self._begun_windows.clear()

    def step_limit(self) -> int:
        """Return the number of predictions of the next step; those that were processed before are replayed quickly."""
        replayed = 0 if self.state is None else self.stored_position - self.state.position
        return min(replayed, MAX_STEP) if replayed > 0 else self.retries.limit

    @property
    def is_dirty(self) -> bool:
        """Whether the state has moved since the last checkpoint."""
        return self.checkpoints.processed > 0

    def checkpoint_is_due(self, transition: ModelTransition) -> bool:
        """Check whether a step is to store the states: with alerts, other slices, and every so many predictions."""
        if transition.state.position < self.stored_position:
            return False
        has_alerts = any(isinstance(event, ALERT_EVENTS) for event in transition.events)
        has_other_slices = bool(transition.retired) or transition.state.streams.keys() != self.ids.keys()
        has_other_parts = has_other_slices or transition.changes_watch(self.streams)
        further = transition.state.position - (self.state.position if self.state else 0)
        return has_alerts or has_other_parts or self.checkpoints.is_due(further)

    def must_write(self, transition: ModelTransition, checkpoint: bool) -> bool:
        """Check whether a step has anything to store: a replay of what was stored has not."""
        state = transition.state
        has_predictions = state.position > self.stored_position
        has_labels = self.state is not None and state.label_position > self.state.label_position
        return has_predictions or has_labels or bool(transition.events) or checkpoint

    def changed(self, transition: ModelTransition) -> None:
        """Remember which streams a step has changed."""
        self.statuses.changed(transition.changed)
        self.unstored |= transition.changed

    def committed(
        self,
        transition: ModelTransition,
        state: ModelState,
        ids: dict[str, int],
        has_statuses: bool,
        checkpoint_bytes: int | None,
    ) -> None:
        """Take over a step that was stored, with or without the statuses of the streams and a checkpoint."""
        before = self.state.position if self.state else state.position
        self.checkpoints.processed += state.position - before
        self.changed(transition)
        if has_statuses:
            self.statuses.saved()
        self.state, self.ids = state, ids
        new_key = BaselineKey(self.reference_id)
        self.loaded_keys = {name: self.loaded_keys.get(name, new_key) for name in state.streams}
        for name in state.streams.keys() - self.targets.keys():
            self.targets[name] = replace(self.whole, id=ids[name], slice=name, calibration_id=None, baseline_id=None)
        self.targets = {name: self.targets[name] for name in state.streams}
        self.stored_position = max(self.stored_position, state.position)
        if checkpoint_bytes is not None:
            self.checkpoints.stored(checkpoint_bytes)
            self.unstored = set()
