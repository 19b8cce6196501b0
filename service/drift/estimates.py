"""Estimates about a window without its labels: its class proportions, and the accuracy of the model on it."""

from dataclasses import dataclass
from typing import Literal

AccuracyMethod = Literal["confidence", "reweighted", "recreated", "regression", "combined", "unknown"]


@dataclass(frozen=True)
class LabelShift:
    """Class proportions by class name.

    Attributes
    ----------
    reference : dict[str, float]
        Shares of the classes in the reference; where what is normal depends on the context, in calm traffic of the
        window's context.
    estimated : dict[str, float]
        Maximum a posteriori estimate for the window.
    low, high : dict[str, float]
        95 % interval of each share of the traffic that the window is drawn from.
    weights : dict[str, float]
        Importance weights for refitting; never zero, and 1 for a class that the reference lacks.
    moment_estimate : dict[str, float]
        The estimate by black box shift estimation, as a check on the other.
    """

    reference: dict[str, float]
    estimated: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    weights: dict[str, float]
    moment_estimate: dict[str, float]


@dataclass(frozen=True)
class Performance:
    """Accuracy estimated without labels.

    Attributes
    ----------
    estimated_accuracy, low, high : float in 0..1
        The estimate and its interval.
    reference_accuracy : float
        The accuracy on the reference.
    interval_level : float
        Probability with which the interval covers where the method's assumption holds.
    method : AccuracyMethod
        "confidence", the calibrated confidence; "reweighted", the same at the window's class proportions; "recreated",
        rehearsed operations that make the reference's images look like the window; "regression", the features of all
        rehearsals; "combined", one of these two and the window's class proportions; "unknown", if no method gives an
        interval of use.
    assumption_holds : bool
        Whether the method's assumption holds.
    operations : tuple of str
        The rehearsed operations that recreate the window; empty for other methods.
    note : str
        One sentence about the method for the person who reads the estimate.
    """

    estimated_accuracy: float
    low: float
    high: float
    reference_accuracy: float
    interval_level: float
    method: AccuracyMethod
    assumption_holds: bool
    operations: tuple[str, ...]
    note: str
