"""The memory that the request bodies of one process share."""

import threading

from ...errors import Overloaded
from ..problems import Problem


class BodyBudget:
    """The bytes that the request bodies of one process may hold at a time; safe to use from several threads.

    Parameters
    ----------
    limit : int
        Bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._lock = threading.Lock()

    def reserve(self, count: int, reserved: int = 0) -> None:
        """Take `count` bytes of the budget for a request that already holds `held` bytes.

        Raises
        ------
        Problem
            413: a single request holds more than the whole budget.
        Overloaded
            Other requests hold them at the moment.
        """
        if reserved + count > self.limit:
            raise Problem(
                413, f"the request needs {reserved + count} bytes of memory, at most {self.limit} are available"
            )
        with self._lock:
            if self._used + count > self.limit:
                raise Overloaded(f"other requests hold {self._used} of the {self.limit} bytes for request bodies")
            self._used += count

    def release(self, count: int) -> None:
        """Give `count` bytes back."""
        with self._lock:
            self._used -= count
