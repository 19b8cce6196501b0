"""From a model's scores to rows that are probability distributions."""

import numpy as np
from numpy.typing import NDArray

from ..errors import TidemarkError

Floats = NDArray[np.float32]

TOLERANCE = 0.01  # deviation of a probability from 0..1, or of a row's sum from 1, that float16 and rounding explain
EXACT = 1e-3  # deviation of a row's sum from 1 up to which the row is left as the model answered it
MAX_STEP = 0.01  # coarsest grid of quantised probabilities; int8 has steps of 1/127


class ModelFailed(TidemarkError):
    """The model gave no usable answer."""


def activate(scores: Floats, activation: str) -> Floats:
    """Return probabilities (m, k) of scores (m, k), or of one score (m, 1) those of the two classes.

    Parameters
    ----------
    activation : str
        "softmax" and "sigmoid" of logits; "normalise" divides rows by their sums; "none" returns the scores.
    """
    if activation == "softmax":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        softmax: Floats = powers / powers.sum(axis=1, keepdims=True)
        return softmax
    if activation == "sigmoid":
        scores = 1 / (1 + np.exp(-np.clip(scores, -80, 80, dtype=np.float32)))
    if scores.shape[1] == 1:
        return np.concatenate([1 - scores, scores], axis=1)
    if activation in ("normalise", "sigmoid"):
        clipped = np.maximum(scores, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            normalised: Floats = clipped / clipped.sum(axis=1, keepdims=True)
        return normalised
    return scores


def distributions(probabilities: Floats) -> Floats:
    """Return probabilities (m, k) with rows that add up to 1; a row that is already exact keeps its values.

    Rounding is corrected: a quantised softmax answers multiples of a step of about 1/256, whose sum may differ from 1
    by half a step for each class.

    Raises
    ------
    ModelFailed
        A row is not a probability distribution: a value outside 0..1, or a sum that rounding does not explain.
    """
    sums = probabilities.sum(axis=1)
    deviations = np.abs(sums - 1)
    least = probabilities.min()
    if least >= 0 and deviations.max() <= EXACT:
        return probabilities
    if least < -TOLERANCE or probabilities.max() > 1 + TOLERANCE:
        raise ModelFailed(
            f"the model answered {least:.3g} to {probabilities.max():.3g}, which are not probabilities: "
            "set output.activation in model.toml (softmax or sigmoid for logits)"
        )
    inexact = (deviations > EXACT) | (probabilities.min(axis=1) < 0)
    for row in np.flatnonzero(deviations > TOLERANCE):
        if not deviations[row] <= _rounding(probabilities[row]):
            raise ModelFailed(
                f"the model answered probabilities that add up to {sums[row]:.3g}, not 1: set output.activation in "
                "model.toml (softmax for logits, normalise to divide scores by their sum)"
            )
    clipped = np.clip(probabilities, 0, 1)
    exact: Floats = np.where(inexact[:, None], clipped / clipped.sum(axis=1, keepdims=True), probabilities)
    return exact


def _rounding(row: Floats) -> float:
    """Return how far rounding to a grid may have moved a row's sum: half a step a class, 0 if there is no grid.

    A row of zeros has no sum to divide by, whatever the grid.
    """
    positive = row[row > 0].astype(np.float64)
    if not len(positive):
        return 0.0
    for steps in range(1, 9):  # the smallest value may be several steps
        step = positive.min() / steps
        multiples = positive / step
        if step <= MAX_STEP and np.abs(multiples - np.rint(multiples)).max() < 0.02:
            return float(len(row) * step / 2 + TOLERANCE)
    return 0.0
