"""The accuracy on a window whose images changed, from the rehearsals of its reference."""

from .estimated_accuracy import LABELS_NEEDED
from .estimates import AccuracyMethod, Performance
from .rehearsals.conformal import INTERVAL_LEVEL
from .rehearsals.estimator import RehearsalEstimate

NOTES: dict[AccuracyMethod, str] = {
    "recreated": "The window looks like the reference's images under {operations}: the accuracy is the one measured "
    "on them.",
    "regression": "No rehearsed operation recreates the window: the accuracy follows from what it has in common with "
    "all of them.",
    "combined": "Images and class proportions changed: the accuracy follows from what the window has in common with "
    "the rehearsals at many class proportions.",
    "unknown": "The window is unlike all rehearsals: label {labels} of its images to know the accuracy.",
}


def shifted_performance(estimate: RehearsalEstimate, reference_accuracy: float) -> Performance:
    """Return the estimated accuracy of a window whose images changed, as the report holds it."""
    operations = ", ".join(estimate.operations) or "an operation"
    return Performance(
        estimated_accuracy=estimate.accuracy,
        low=estimate.low,
        high=estimate.high,
        reference_accuracy=reference_accuracy,
        interval_level=INTERVAL_LEVEL,
        method=estimate.method,
        assumption_holds=estimate.method != "unknown",
        operations=estimate.operations,
        note=NOTES[estimate.method].format(operations=operations, labels=LABELS_NEEDED),
    )
