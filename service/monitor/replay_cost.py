"""What a replay of logged predictions took."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReplayCost:
    """The cost of a replay.

    Parameters
    ----------
    predictions : int
        Predictions that were processed.
    seconds : float
        Processor time.
    windows : int
        Windows that were tested.
    rejected : int
        Predictions that could not be processed.
    """

    predictions: int
    seconds: float
    windows: int
    rejected: int
