"""Which images to label next: the least typical and the least certain, of every predicted class."""

import csv
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from .context import Context
from .result import RemedyNotApplicable, RemedyResult
from .witness_scores import witness_scores

Matrix = NDArray[np.float64]

MAX_IMAGES = 100  # images
CSV, JSON = "label_next.csv", "label_next.json"
FIELDS = ("id", "predicted", "confidence", "witness", "uncertainty", "priority")


def relabel(context: Context) -> RemedyResult:
    """Write the ids of the predictions without a label whose labels would teach most, as CSV and as JSON.

    Raises
    ------
    Unfit
        All predictions of the span have labels.
    """
    span = context.span
    open_rows = np.flatnonzero(~span.labelled)
    if not len(open_rows):
        raise RemedyNotApplicable("needs predictions without labels; all of the span have them")
    witness = witness_scores(span.reference, span.sample, context.seed)[open_rows]
    probabilities = span.sample.probabilities[open_rows]
    uncertainty = special.entr(probabilities.astype(np.float64)).sum(axis=1) / np.log(probabilities.shape[1])
    priority = (_rank(witness) + _rank(uncertainty)) / 2
    predicted = probabilities.argmax(axis=1)
    rows = [
        _row(context, int(open_rows[at]), witness[at], uncertainty[at], priority[at])
        for at in first_of_each(predicted, priority, MAX_IMAGES)
    ]
    with (context.out / CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    (context.out / JSON).write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    classes = len({row["predicted"] for row in rows})
    return RemedyResult(
        name="relabel",
        kind="concept",
        summary=f"Names the {len(rows)} images to label next, the least typical and least certain of {classes} "
        f"predicted classes; send their labels to POST /feedback. {int(span.labelled.sum())} of {len(span)} have one.",
        files=(CSV, JSON),
        details={"labelled": int(span.labelled.sum()), "predictions": len(span), "first": rows[:10]},
    )


def first_of_each(predicted: NDArray[np.int64], priority: Matrix, count: int) -> list[int]:
    """Return up to `count` rows: the first of every predicted class, then the second of each, and so on."""
    order = np.argsort(-priority, kind="stable")
    turn = np.empty(len(order), dtype=np.int64)
    for label in np.unique(predicted):
        members = order[predicted[order] == label]
        turn[members] = np.arange(len(members))
    rows: list[int] = np.lexsort((-priority, turn))[:count].tolist()
    return rows


def _rank(values: Matrix) -> Matrix:
    """Return each value's rank over the number of values, in 0..1."""
    return np.asarray(stats.rankdata(values) / len(values))


def _row(context: Context, row: int, witness: float, uncertainty: float, priority: float) -> dict[str, Any]:
    probabilities = context.span.sample.probabilities[row]
    return {
        "id": str(context.span.ids[row]),
        "predicted": context.span.reference.class_names[int(probabilities.argmax())],
        "confidence": round(float(probabilities.max()), 4),
        "witness": round(float(witness), 3),
        "uncertainty": round(float(uncertainty), 4),
        "priority": round(float(priority), 4),
    }
