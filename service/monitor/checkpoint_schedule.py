"""When the states of a model are stored: after so many predictions or seconds, for a bounded number of bytes."""

import time
from dataclasses import dataclass, field

CHECKPOINT_ROWS = 20_000  # predictions after which the states are stored
CHECKPOINT_SECONDS = 60.0  # shortest time between two checkpoints of a stream with less traffic
CHECKPOINT_BYTES = 4000  # most bytes of checkpoints for each prediction: a slow stream is stored less often
OLDEST_CHECKPOINT = 86_400.0  # seconds, after which even a very slow stream is stored


@dataclass
class CheckpointSchedule:
    """The rows and seconds since the last checkpoint of a model.

    Parameters
    ----------
    processed : int
        Predictions since the last checkpoint.
    has_checkpoint : bool
        Whether a crash now would find a checkpoint of every stream.
    """

    processed: int = 0
    has_checkpoint: bool = True
    _stored_at: float = field(default_factory=time.monotonic)
    _stored_bytes: int = 0

    def is_due(self, further: int) -> bool:
        """Check whether the states are to be stored with a step of `further` predictions."""
        if not self.has_checkpoint:
            return True
        processed = self.processed + further
        age = time.monotonic() - self._stored_at
        is_affordable = processed * CHECKPOINT_BYTES >= max(self._stored_bytes, 1)
        if processed >= CHECKPOINT_ROWS or (age >= CHECKPOINT_SECONDS and is_affordable):
            return True
        return age >= OLDEST_CHECKPOINT and processed > 0

    def stored(self, size: int) -> None:
        """Note that a checkpoint of `size` bytes was stored."""
        self._stored_at, self._stored_bytes = time.monotonic(), size
        self.processed, self.has_checkpoint = 0, True
