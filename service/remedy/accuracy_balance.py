"""What a shift costs in accuracy, and how much of it a remedy regains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from ..drift.intervals import wilson_interval
from .remedy_context import RemedyContext
from .result import Improvement

MIN_LABELS = 50  # labels of the span from which its accuracy is measured instead of estimated
LABELS = "labels"  # name of the method by which an accuracy is measured


@dataclass(frozen=True, slots=True)
class AccuracyLoss:
    """The accuracy on the reference minus that on the span.

    Attributes
    ----------
    amount, low, high : float
        The loss and its interval; negative where the span's accuracy is higher.
    method : str
        "labels" if it was measured on labels that came back, else the method of the window report's estimate.
    """

    amount: float
    low: float
    high: float
    method: str


class LossJson(TypedDict):
    """A loss of accuracy with its interval and the method by which it was determined."""

    accuracy: float
    low: float
    high: float
    method: str


class RegainJson(TypedDict):
    """An improvement of the accuracy with its interval."""

    accuracy: float
    low: float
    high: float
    measured_on: str
    estimated: bool


class BalanceJson(TypedDict):
    """An accuracy balance as report.json holds it."""

    lost: LossJson | None
    regained: RegainJson | None


@dataclass(frozen=True, slots=True)
class AccuracyBalance:
    """The accuracy that the span lost, and what one remedy regains.

    Attributes
    ----------
    lost : AccuracyLoss or None
        None if the reference has no labels, so that its accuracy is not known.
    regained : Improvement or None
        The remedy's improvement of the accuracy; None if it was not measured.
    """

    lost: AccuracyLoss | None
    regained: Improvement | None

    def to_dict(self) -> BalanceJson:
        """Return both as JSON values."""
        lost, regained = self.lost, self.regained
        return BalanceJson(
            lost=None
            if lost is None
            else LossJson(accuracy=lost.amount, low=lost.low, high=lost.high, method=lost.method),
            regained=None
            if regained is None
            else RegainJson(
                accuracy=regained.amount,
                low=regained.low,
                high=regained.high,
                measured_on=regained.measured_on,
                estimated=regained.estimated,
            ),
        )

    def __str__(self) -> str:
        parts = []
        if self.lost is not None:
            parts.append(
                f"accuracy lost {_points(self.lost.amount, self.lost.low, self.lost.high)} ({self.lost.method})"
            )
        if self.regained is not None:
            parts.append(f"regained {_points(self.regained.amount, self.regained.low, self.regained.high)}")
        return ", ".join(parts)


def accuracy_loss(context: RemedyContext) -> AccuracyLoss | None:
    """Return what the span lost: measured on at least 50 labels that came back, else as the window report estimates."""
    performance = context.report.performance
    if performance is None:
        return None
    reference = performance.reference_accuracy
    labelled = context.span.labelled
    if labelled.sum() >= MIN_LABELS:
        predicted = context.span.sample.probabilities[labelled].argmax(axis=1)
        right = int((predicted == context.span.labels[labelled]).sum())
        low, high = wilson_interval(right, int(labelled.sum()))
        return AccuracyLoss(reference - right / int(labelled.sum()), reference - high, reference - low, LABELS)
    return AccuracyLoss(
        reference - performance.estimated_accuracy,
        reference - performance.high,
        reference - performance.low,
        performance.method,
    )


def accuracy_balance(
    lost: AccuracyLoss | None, improvements: Sequence[Improvement], rehearsed: Improvement | None = None
) -> AccuracyBalance:
    """Return the balance of one remedy.

    Its improvement of the accuracy is that on labels of the span, else that by rehearsals of the remedied model, else
    the remedy's own estimate.
    """
    accuracies = [improvement for improvement in improvements if improvement.metric == "accuracy"]
    measured = [improvement for improvement in accuracies if not improvement.estimated]
    by_rehearsals = [] if rehearsed is None else [rehearsed]
    return AccuracyBalance(lost, next(iter([*measured, *by_rehearsals, *accuracies]), None))


def _points(amount: float, low: float, high: float) -> str:
    return f"{amount * 100:.1f} points ({low * 100:.1f} to {high * 100:.1f})"
