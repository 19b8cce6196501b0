"""A model that a monitor owns: its state in memory, and what the loop has to remember around it."""

import datetime as dt
import time
from dataclasses import dataclass, field, replace
from uuid import UUID

import numpy as np

from ..settings import Settings
from ..store.log_batch import PredictionBatch
from ..store.watch import Target
from .events import ALERT_EVENTS, Explanation
from .model_step import WHOLE, ModelState, Transition
from .prepared_reference import BaselineKey
from .state import SecondDetector
from .stream_step import is_due, with_error

MAX_STEP = 5000  # predictions of one step
STATUS_INTERVAL = 3.0  # seconds between two writes of the statuses, unless something happened
CHECKPOINT_ROWS = 20_000  # predictions after which the states are stored
CHECKPOINT_SECONDS = 60.0  # shortest time between two checkpoints
CHECKPOINT_BYTES = 4000  # most bytes of checkpoints for each prediction: a slow stream is stored less often
OLDEST_CHECKPOINT = 86_400.0  # seconds, after which even a very slow stream is stored
FIRST_BACKOFF = 0.5  # seconds before a step that failed is repeated
MAX_BACKOFF = 60.0  # seconds


@dataclass
class OwnedModel:
    """One of the models that a monitor holds the lease of.

    Parameters
    ----------
    targets : dict
        The rows of its streams by the name of the slice, as last read.
    """

    model_id: int
    targets: dict[str, Target]
    state: ModelState | None = None
    ids: dict[str, int] = field(default_factory=dict)  # of the streams, by the name of the slice
    loaded_keys: dict[str, BaselineKey] = field(default_factory=dict)  # what the detectors in memory are compared with
    stored_position: int = 0
    unsaved: set[str] = field(default_factory=set)  # streams whose status has changed since it was stored
    unstored: set[str] = field(default_factory=set)  # streams that have changed since the last checkpoint
    explanations: list[Explanation] = field(default_factory=list)
    seconds: dict[str, tuple[UUID, SecondDetector]] = field(default_factory=dict)
    limit: int = MAX_STEP
    retry_at: float = 0.0
    parked: bool = False  # its state was stored and dropped from memory until something new comes
    stepped_at: float = 0.0  # monotonic time of the last step
    blind_reason: str | None = None
    _failures: int = 0
    _suspect_until: int = 0  # position up to which a step has failed
    _failed_at: int = -1  # position from which the last step failed
    _error: BaseException | None = None
    _status_at: float = -float("inf")
    _checkpoint_at: float = field(default_factory=time.monotonic)
    _checkpoint_bytes: int = 0
    _processed: int = 0  # predictions since the last checkpoint
    _is_stored: bool = True  # whether a crash now would find a checkpoint

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
        """What each stream is to be compared with."""
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
    def has_more(self) -> bool:
        """Whether predictions or labels wait that were read of already."""
        state = self.state
        return state is not None and (state.position < self.written or state.label_position < self.labels_written)

    @property
    def wakes(self) -> bool:
        """Whether a parked model has something new."""
        whole = self.whole
        return whole.written > whole.position or whole.labels_written > whole.label_position

    def park(self) -> None:
        """Drop the stored state from memory until something new comes."""
        self.state, self.parked = None, True

    def has_input(self, now: dt.datetime, settings: Settings) -> bool:
        """Check whether there is anything for a step to process."""
        if self.has_more or self.explanations or self.seconds:
            return True
        return self.state is not None and any(is_due(item, settings, now) for item in self.state.streams.values())

    def load(self, state: ModelState, is_stored: bool) -> None:
        """Begin with the state of the last checkpoint, or with one that is to be stored at the first step."""
        self._is_stored, self.parked = is_stored, False
        self.ids = {name: target.id for name, target in self.targets.items()}
        self.loaded_keys = {name: key for name, key in self.keys.items() if name in state.streams}
        self.stored_position = self.whole.position
        if self._error is not None:
            status = with_error(state.whole.status, "step", self._error)
            state = replace(state, streams={**state.streams, WHOLE: replace(state.whole, status=status)})
        self.state = state
        self._error = None
        self.unstored = set() if is_stored else set(state.streams)
        self._processed = 0

    # Failures

    def succeeded(self) -> None:
        """Return to larger steps, once the predictions of a step that failed are behind."""
        self.stepped_at = time.monotonic()
        if self.state is None or self.state.position <= self._failed_at:
            return
        self._failures, self._failed_at = 0, -1
        if self.state.position >= self._suspect_until:
            self.limit = min(2 * self.limit, MAX_STEP)

    def failed(self, error: BaseException) -> None:
        """Forget the state, and wait before a smaller step is tried."""
        self._failures += 1
        self._error = error
        if self.state is not None:
            self._failed_at = self.state.position
            self._suspect_until = max(self._suspect_until, self.state.position + self.limit)
        self.state = None
        self.limit = max(self.limit // 8, 1)
        self.retry_at = time.monotonic() + min(FIRST_BACKOFF * 2.0**self._failures, MAX_BACKOFF)

    @property
    def must_skip(self) -> bool:
        """Whether a single prediction fails again and again."""
        return self.limit == 1 and self._failures > 6

    def step_limit(self) -> int:
        """Return the number of predictions of the next step; those that were processed before are replayed quickly."""
        replayed = 0 if self.state is None else self.stored_position - self.state.position
        return min(replayed, MAX_STEP) if replayed > 0 else self.limit

    def skipped_batch(self, last: int, reason: str, embedding_size: int, classes: int) -> PredictionBatch:
        """Return a batch without predictions that leads to a position and counts those before it as rejected."""
        if self.state is None:
            raise LookupError(f"model {self.model_id} is not loaded")
        empty = np.zeros(0, np.int64)
        return PredictionBatch(
            first=self.state.position + 1,
            last=last,
            positions=empty,
            ids=np.zeros((0, 16), np.uint8),
            times=empty,
            embeddings=np.zeros((0, embedding_size), np.float32),
            probabilities=np.zeros((0, classes), np.float32),
            properties=None,
            tags=[],
            rejected={reason: last - self.state.position},
        )

    # Writing

    @property
    def statuses_are_due(self) -> bool:
        """Whether statuses may be stored again with a step."""
        return time.monotonic() - self._status_at >= STATUS_INTERVAL

    @property
    def status_is_due(self) -> bool:
        """Whether statuses are to be stored although nothing came in."""
        return bool(self.unsaved) and time.monotonic() - self._status_at >= STATUS_INTERVAL

    @property
    def is_dirty(self) -> bool:
        """Whether the state has moved since the last checkpoint."""
        return self._processed > 0

    def checkpoint_is_due(self, transition: Transition) -> bool:
        """Check whether the states are to be stored with a step: when an alert is written, when slices open or end,
        and every so many predictions."""
        if transition.state.position < self.stored_position:
            return False
        alerts = any(isinstance(event, ALERT_EVENTS) for event in transition.events)
        slices = bool(transition.retired) or transition.state.streams.keys() != self.ids.keys()
        if alerts or slices or not self._is_stored:
            return True
        processed = self._processed + transition.state.position - (self.state.position if self.state else 0)
        age = time.monotonic() - self._checkpoint_at
        slow = age >= CHECKPOINT_SECONDS and processed * CHECKPOINT_BYTES >= max(self._checkpoint_bytes, 1)
        return processed >= CHECKPOINT_ROWS or slow or (age >= OLDEST_CHECKPOINT and processed > 0)

    def must_write(self, transition: Transition, checkpoint: bool) -> bool:
        """Check whether a step has anything to store: a replay of what was stored has not."""
        state = transition.state
        moved = state.position > self.stored_position
        labels = self.state is not None and state.label_position > self.state.label_position
        return moved or labels or bool(transition.events) or checkpoint

    def changed(self, transition: Transition) -> None:
        """Remember which streams a step has changed."""
        self.unsaved |= transition.changed
        self.unstored |= transition.changed

    def committed(
        self, transition: Transition, state: ModelState, ids: dict[str, int], checkpoint_bytes: int | None
    ) -> None:
        """Take a stored step over."""
        before = self.state.position if self.state else state.position
        self._processed += state.position - before
        self.changed(transition)
        self.state, self.ids = state, ids
        self.loaded_keys = {name: self.loaded_keys.get(name, self._new_key) for name in state.streams}
        for name in state.streams.keys() - self.targets.keys():
            self.targets[name] = replace(self.whole, id=ids[name], slice=name, calibration_id=None, baseline_id=None)
        self.targets = {name: self.targets[name] for name in state.streams}
        self.stored_position = max(self.stored_position, state.position)
        if checkpoint_bytes is not None:
            self._checkpoint_at = time.monotonic()
            self._checkpoint_bytes, self._processed = checkpoint_bytes, 0
            self.unstored, self._is_stored = set(), True

    @property
    def _new_key(self) -> BaselineKey:
        return BaselineKey(self.reference_id)

    def status_saved(self) -> None:
        """Remember that all statuses are stored."""
        self.unsaved = set()
        self._status_at = time.monotonic()
