"""Locks by which the processes of one data folder share its embedded server; they end with their process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import ConfigurationError, DatabaseError
from ...polling import wait_until

LOCK_SECONDS = 120.0  # seconds to wait for a process that creates or starts the server
LOCK_PAUSE = 0.05  # seconds between two attempts


@contextmanager
def exclusive(folder: Path) -> Iterator[int]:
    """Hold the right to start and stop the server in `folder`; yield the lock's file descriptor.

    Raises
    ------
    DatabaseError
        Another process did not release it in time.
    """
    descriptor = _open(folder.with_name(folder.name + ".lock"))
    try:
        if not wait_until(lambda: _try_lock(descriptor, fcntl.LOCK_EX), LOCK_SECONDS, LOCK_PAUSE):
            raise DatabaseError(f"the embedded Postgres in {folder} is being started by a process that hangs")
        yield descriptor
    finally:
        os.close(descriptor)


class Membership:
    """A place among the users of the server in `folder`. Use its methods only while `exclusive` is held."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = _open(folder.with_name(folder.name + ".users"))

    def is_alone(self) -> bool:
        """Whether no other process uses the server. Gives up this process's own place."""
        return _try_lock(self._descriptor, fcntl.LOCK_EX)

    def join(self) -> None:
        """Become a user of the server."""
        _try_lock(self._descriptor, fcntl.LOCK_SH)

    def close(self) -> None:
        """Leave."""
        os.close(self._descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigurationError(f"TIDEMARK_DATA_DIR: cannot write {path}: {error.strerror}") from None


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ConfigurationError(f"TIDEMARK_DATA_DIR: its file system has no locks: {error.strerror}") from None
    return True
