"""Calibrated probabilities: bias-corrected temperature scaling, and answers for other class proportions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from .samples import fitted_rows
from .types import Float32Array, FloatArray, IntArray

LOG_OFFSET = 1e-6  # added to a probability before its logarithm
BIAS_PENALTY = 1.0  # nats for each squared bias: keeps the biases of rare classes near zero


class TemperatureScaling:
    """Bias-corrected temperature scaling (Alexandari, Kundaje and Shrikumar 2020, section 3.2), fitted on labels.

    Calibrated posteriors are softmax(log(p) / T + b), T and b by maximum likelihood on the reference, of which at most
    20,000 rows are used.
    """

    def __init__(self, probabilities: Float32Array, labels: IntArray) -> None:
        used = fitted_rows(len(labels))
        logs, labels = _logs(probabilities[used]), labels[used]
        n, k = logs.shape
        rows = np.arange(n)
        truth = np.bincount(labels, minlength=k)

        logs_at_labels = logs[rows, labels].sum()
        posterior = np.empty_like(logs)

        def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
            slope, bias = np.exp(parameters[0]), parameters[1:]
            scores = np.multiply(logs, slope, out=posterior)
            scores += bias
            scores -= scores.max(axis=1, keepdims=True)
            at_labels = scores[rows, labels].sum()
            np.exp(scores, out=posterior)
            totals = posterior.sum(axis=1)
            np.divide(posterior, totals[:, None], out=posterior)
            value = np.log(totals).sum() - at_labels + BIAS_PENALTY * (bias @ bias)
            by_slope = np.vdot(posterior, logs) - logs_at_labels
            by_bias = posterior.sum(axis=0) - truth + 2 * BIAS_PENALTY * bias
            return float(value / n), np.concatenate([[by_slope * slope], by_bias]) / n

        fit = optimize.minimize(loss, np.zeros(k + 1), jac=True, method="L-BFGS-B", bounds=[(-3, 3)] + [(-5, 5)] * k)
        self.slope, self.bias = float(np.exp(fit.x[0])), np.asarray(fit.x[1:])

    def __call__(self, probabilities: Float32Array) -> FloatArray:
        """Return calibrated probabilities (m, k)."""
        return np.asarray(special.softmax(_logs(probabilities) * self.slope + self.bias, axis=1))


def correct(probabilities: NDArray[np.floating], weights: FloatArray) -> FloatArray:
    """Return posteriors (m, k) moved to other class proportions: p(y|x) w(y), normalised.

    `weights` (k,) are the target's proportions over the reference's (Saerens, Latinne and Decaestecker 2002, eq. 2.4);
    a row that they leave nothing of stays as it is.
    """
    weighted = np.asarray(probabilities, dtype=np.float64) * weights
    total = weighted.sum(axis=1, keepdims=True)
    return np.where(total > 0, weighted / np.where(total > 0, total, 1.0), probabilities)


@dataclass(frozen=True, eq=False)
class PriorCorrection:
    """Answers for other class proportions: calibrated posteriors, moved by `corrected`.

    An overconfident model would be moved too little where it is wrong (Alexandari, Kundaje and Shrikumar 2020,
    section 4), so that slope and bias of its calibration are part of the correction.
    """

    slope: float
    bias: FloatArray  # (k,)
    weights: FloatArray  # (k,) the target's proportions over the reference's

    @classmethod
    def fitted(cls, probabilities: Float32Array, labels: IntArray, weights: FloatArray) -> "PriorCorrection":
        """Return the correction to `weights` with the calibration of a reference: (n, k), (n,)."""
        calibration = TemperatureScaling(probabilities, labels)
        return cls(calibration.slope, calibration.bias, weights)

    def __call__(self, probabilities: NDArray[np.floating]) -> FloatArray:
        """Return corrected posteriors (m, k)."""
        posterior = special.softmax(_logs(probabilities) * self.slope + self.bias, axis=1)
        return correct(posterior, self.weights)


def _logs(probabilities: NDArray[np.floating]) -> FloatArray:
    return np.log(np.asarray(probabilities, dtype=np.float64) + LOG_OFFSET)
