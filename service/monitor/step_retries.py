"""How the steps of a model are repeated after a failure: later, with fewer predictions, at last without one of them."""

import time
from dataclasses import dataclass

MAX_STEP = 5000  # predictions of one step
FIRST_BACKOFF = 0.5  # seconds before a step that failed is repeated
MAX_BACKOFF = 60.0  # seconds, the longest time before a step that failed is repeated
SHRINK = 8  # factor by which a step that failed is made smaller
MAX_FAILURES = 6  # failures of a single prediction, after which it is skipped


@dataclass
class StepRetries:
    """The size and the time of a model's next step.

    Parameters
    ----------
    limit : int, default 5000
        The number of predictions of the next step.
    retry_at : float
        The monotonic time of the next step, after a failure.
    """

    limit: int = MAX_STEP
    retry_at: float = 0.0
    _failures: int = 0
    _suspect_until: int = 0  # position up to which a step has failed
    _failed_at: int = -1  # position from which the last step failed

    def succeeded(self, position: int) -> None:
        """Return to larger steps, once the predictions of a step that failed are behind."""
        if position <= self._failed_at:
            return
        self._failures, self._failed_at = 0, -1
        if position >= self._suspect_until:
            self.limit = min(2 * self.limit, MAX_STEP)

    def failed(self, position: int | None) -> None:
        """Wait before a smaller step is tried.

        Parameters
        ----------
        position : int, optional
            The position from which the step failed; None if the model's state could not be loaded.
        """
        self._failures += 1
        if position is not None:
            self._failed_at = position
            self._suspect_until = max(self._suspect_until, position + self.limit)
        self.limit = max(self.limit // SHRINK, 1)
        self.retry_at = time.monotonic() + min(FIRST_BACKOFF * 2.0**self._failures, MAX_BACKOFF)

    @property
    def must_skip(self) -> bool:
        """Whether a single prediction fails again and again."""
        return self.limit == 1 and self._failures > MAX_FAILURES
