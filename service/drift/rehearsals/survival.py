"""What a model survives: its accuracy under each rehearsed operation at each severity."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .record import Rehearsals

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
    """

    images: int
    rehearsals: int
    unchanged_accuracy: float
    rows: tuple[SurvivalRow, ...]


def survival_of(reference: "Reference") -> Survival | None:
    """Return what the model of a reference survives; None without labels or rehearsals."""
    rehearsals = reference.rehearsals
    if rehearsals is None or reference.labels is None:
        return None
    right = reference.probabilities[rehearsals.rows].argmax(axis=1) == reference.labels[rehearsals.rows]
    return Survival(len(rehearsals.rows), len(rehearsals), float(right.mean()), survival_rows(rehearsals))


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
