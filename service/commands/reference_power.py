"""The smallest shifts that windows of a reference detect, as far as they can be computed in the time."""

import time
from typing import TypedDict

import numpy as np
from rich.console import Console

from ..drift import Reference, power_table

POWER_SHARE = 0.18  # share of the build's time for the table of detectable shifts; its last step exceeds it a little


class DetectableShift(TypedDict):
    """The smallest shift of a kind that most windows of a size detect."""

    shift: str
    unit: str
    window_size: int
    smallest: float | None


def detectable_shifts(reference: Reference, power: str, elapsed: float) -> tuple[list[DetectableShift], bool]:
    """Return the table of the smallest shifts that are detected, and whether it is complete.

    Parameters
    ----------
    power : {"auto", "full", "none"}
        "auto" stops after a share of the time so far.
    elapsed : float
        Seconds that the build has taken so far.
    """
    if power == "none":
        return [], False
    budget = np.inf if power == "full" else elapsed * POWER_SHARE / (1 - POWER_SHARE)
    started, stopped = time.monotonic(), False
    with Console(stderr=True).status("smallest shifts that would be detected") as status:

        def proceed() -> bool:
            nonlocal stopped
            seconds = time.monotonic() - started
            stopped = stopped or seconds > budget
            limit = "" if power == "full" else f" of at most {budget:.0f}"
            status.update(f"smallest shifts that would be detected: {seconds:.0f}{limit} s")
            return not stopped

        table = power_table(reference, proceed=proceed)
    shifts = [
        DetectableShift(shift=row.shift, unit=row.unit, window_size=row.window_size, smallest=row.smallest)
        for row in table
    ]
    return shifts, not stopped
