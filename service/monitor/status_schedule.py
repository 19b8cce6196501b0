"""When what readers see of a model's streams is stored: every few seconds, unless something happened."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

STATUS_INTERVAL = 3.0  # seconds between two writes of the statuses, unless something happened


@dataclass
class StatusSchedule:
    """The streams whose status has changed since it was stored.

    Parameters
    ----------
    unsaved : set of str
        Their names.
    """

    unsaved: set[str] = field(default_factory=set)
    _saved_at: float = -float("inf")

    @property
    def is_due(self) -> bool:
        """Whether statuses may be stored again."""
        return time.monotonic() - self._saved_at >= STATUS_INTERVAL

    def changed(self, names: Iterable[str]) -> None:
        """Note that the statuses of streams have changed."""
        self.unsaved |= set(names)

    def saved(self) -> None:
        """Note that all statuses are stored."""
        self.unsaved = set()
        self._saved_at = time.monotonic()
