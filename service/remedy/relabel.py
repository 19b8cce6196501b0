"""Which images to label next: drawn with known probabilities, the least typical and least certain the more often."""

import csv
import json

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..drift.label_sampling import error_deviation, size_probabilities
from .remedy_context import RemedyContext
from .result import RelabelJson, RemedyNotApplicable, RemedyResult
from .witness_scores import witness_scores

Matrix = NDArray[np.float64]

MAX_IMAGES = 100  # images that are drawn, on average
CSV, JSON = "label_next.csv", "label_next.json"
FIELDS = ("id", "predicted", "confidence", "witness", "probability")


def relabel(context: RemedyContext) -> RemedyResult:
    """Write the ids of predictions without a label that are to be labelled, as CSV and as JSON.

    Labels teach most where the model is least certain and images are least typical; so these are drawn more often. The
    probability of each is in the files: each error of confidence over its probability makes the accuracy unbiased.
    The order is random: the first labels are those of a random sample of what was drawn.

    Raises
    ------
    RemedyNotApplicable
        All predictions of the span have labels.
    """
    span = context.span
    open_rows = np.flatnonzero(~span.labelled)
    if not len(open_rows):
        raise RemedyNotApplicable("needs predictions without labels; all of the span have them")
    witness = witness_scores(span.reference, span.sample, context.seed)[open_rows]
    probabilities = span.sample.probabilities[open_rows]
    predicted = probabilities.argmax(axis=1)
    posterior = span.reference.labelled.calibration(probabilities)
    confidence = posterior[np.arange(len(predicted)), predicted]
    probability = draw_probabilities(predicted, confidence, witness, MAX_IMAGES)
    rng = np.random.default_rng(context.seed)
    drawn = rng.permutation(np.flatnonzero(rng.random(len(open_rows)) < probability))
    rows = [_row(context, int(open_rows[at]), confidence[at], witness[at], probability[at]) for at in drawn.tolist()]
    with (context.out / CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    (context.out / JSON).write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    classes = len({row["predicted"] for row in rows})
    return RemedyResult(
        name="relabel",
        kind="concept",
        summary=f"Names {len(rows)} images of {classes} predicted classes to label next, drawn with the probabilities "
        f"that the files hold, the least typical and least certain the more often; send their labels to POST "
        f"/feedback. {int(span.labelled.sum())} of {len(span)} have one.",
        files=(CSV, JSON),
        details={"labelled": int(span.labelled.sum()), "predictions": len(span), "first": rows[:10]},
    )


def draw_probabilities(
    predicted: NDArray[np.int64], confidence: Matrix, witness: Matrix, count: int
) -> NDArray[np.float64]:
    """Return the probability (n,) with which each prediction is drawn: all predicted classes have the same share.

    Within a class the probability grows with the error that confidence lets expect, and up to threefold from the most
    typical image to the least.
    """
    probability = np.empty(len(predicted))
    classes = np.unique(predicted)
    for label in classes:
        members = predicted == label
        size = error_deviation(confidence[members]) * (0.5 + _rank(witness[members]))
        probability[members] = size_probabilities(size, count / len(classes))
    return probability


def _rank(values: Matrix) -> Matrix:
    """Return each value's rank over the number of values, in 0..1."""
    return np.asarray(stats.rankdata(values) / len(values))


def _row(context: RemedyContext, row: int, confidence: float, witness: float, probability: float) -> RelabelJson:
    predicted = int(context.span.sample.probabilities[row].argmax())
    return {
        "id": str(context.span.ids[row]),
        "predicted": context.span.reference.class_names[predicted],
        "confidence": round(float(confidence), 4),
        "witness": round(float(witness), 3),
        "probability": float(probability),
    }
