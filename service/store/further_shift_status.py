"""Whether a further shift of the traffic would be seen while an incident is open: a part of a stream's status."""

from dataclasses import dataclass
from typing import Literal, TypedDict

State = Literal["watching", "too_few_predictions", "preparing", "catching_up", "failed"]
UNWATCHED: tuple[State, ...] = ("too_few_predictions", "preparing", "catching_up", "failed")


class FurtherShiftJson(TypedDict):
    """A status of the watch for further shifts as JSON."""

    state: State
    waiting: int
    missed: int
    reason: str | None


@dataclass(frozen=True)
class FurtherShiftStatus:
    """What the monitor reports of the watch for further shifts during an incident.

    Parameters
    ----------
    state : str
        "watching", or why a further shift is not seen yet: "too_few_predictions" since the change make no baseline,
        the baseline is "preparing", the detector is "catching_up" with predictions that waited for it, or the
        preparation has "failed" and is repeated.
    waiting : int, default 0
        The predictions that the detector has still to process.
    missed : int, default 0
        The predictions since its start that it will not process: too many waited, or they have gone from the log.
    reason : str, optional
        Why the preparation failed, in one line.
    """

    state: State
    waiting: int = 0
    missed: int = 0
    reason: str | None = None
