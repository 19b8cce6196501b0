"""What a model survives: its accuracy under each rehearsed operation at each severity."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .record import Rehearsal, Rehearsals

if TYPE_CHECKING:
    from ..reference import Reference

SEVERITIES = ("mild", "medium", "severe")  # names of the severities 0, 1 and 2


class SurvivalRow(NamedTuple):
    """The accuracy under one rehearsed operation at one severity."""

    shift: str
    unit: str
    severity: str
    magnitude: float
    accuracy: float


@dataclass(frozen=True)
class Survival:
    """The accuracy under all rehearsed operations.

    Attributes
    ----------
    images : int
        Images of each rehearsal.
    rehearsals : int
        All rehearsals, mixtures included.
    unchanged_accuracy : float
        Accuracy on the images as they are.
    rows : tuple of SurvivalRow
        Rows by operation in alphabetical order, then by severity and magnitude; mixtures are left out.
    left_out : tuple of str
        What was not rehearsed because the time was up, such as "mild: blur, fog".
    """

    images: int
    rehearsals: int
    unchanged_accuracy: float
    rows: tuple[SurvivalRow, ...]
    left_out: tuple[str, ...]


def survival_of(reference: "Reference") -> Survival | None:
    """Return what the model of a reference survives; None without labels or rehearsals."""
    rehearsals = reference.rehearsals
    if rehearsals is None or reference.labels is None:
        return None
    right = reference.probabilities[rehearsals.rows].argmax(axis=1) == reference.labels[rehearsals.rows]
    return Survival(
        images=len(rehearsals.rows),
        rehearsals=len(rehearsals),
        unchanged_accuracy=float(right.mean()),
        rows=survival_rows(rehearsals),
        left_out=rehearsals.left_out,
    )


def severities_left_out(rehearsals: Sequence[Rehearsal]) -> tuple[str, ...]:
    """Return what rehearsals that were not made would have shown: the operations by severity, and the mixtures."""
    texts = []
    for severity, name in enumerate(SEVERITIES):
        operations = {
            one.operations[0].name for one in rehearsals if one.severity == severity and len(one.operations) == 1
        }
        if operations:
            texts.append(f"{name}: {', '.join(sorted(operations))}")
    mixtures = sum(len(one.operations) > 1 for one in rehearsals)
    if mixtures:
        texts.append(f"{mixtures} mixture{'s' if mixtures > 1 else ''} of two operations")
    return tuple(texts)


def survival_rows(rehearsals: Rehearsals) -> tuple[SurvivalRow, ...]:
    """Return the accuracy under single operations, in the order of `Survival.rows`."""
    rows = []
    for number in rehearsals.single.tolist():
        rehearsal = rehearsals.rehearsals[number]
        operation = rehearsal.operations[0]
        accuracy = float(rehearsals.accuracy[number])
        rows.append(
            SurvivalRow(operation.name, operation.unit, SEVERITIES[rehearsal.severity], operation.magnitude, accuracy)
        )
    return tuple(sorted(rows, key=lambda row: (row.shift, SEVERITIES.index(row.severity), row.magnitude)))
