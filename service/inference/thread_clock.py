"""How long a thread works, however busy the machine is: its time without that spent waiting for a core."""

import os
import threading
import time
from io import FileIO
from pathlib import Path

SCHEDULER_FILE = Path("/proc/thread-self/schedstat")  # a thread's nanoseconds on a core and waiting for one, on Linux
FIGURES = 64  # bytes that hold the file's three numbers

_thread_files = threading.local()


def working_time() -> float:
    """Return seconds whose differences within one thread count its work, and its waits for anything but a core.

    Time in which the thread is ready and other threads have the cores is left out. Where the operating system does not
    tell it, all time counts.
    """
    return time.perf_counter() - time_without_core()


def time_without_core() -> float:
    """Return the seconds that this thread has been ready to run and had no core."""
    try:
        file: FileIO = _thread_files.file
    except AttributeError:
        try:
            file = _thread_files.file = FileIO(str(SCHEDULER_FILE))
        except OSError:
            file = _thread_files.file = FileIO(os.devnull)
    figures = os.pread(file.fileno(), FIGURES, 0).split()
    return int(figures[1]) / 1e9 if len(figures) > 1 else 0.0
