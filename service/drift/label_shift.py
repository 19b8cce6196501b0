"""The class proportions of an unlabelled window: calibration, maximum likelihood, and a moment estimate beside it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Matrix = NDArray[np.float64]

LOG_OFFSET = 1e-6  # added to a probability before its logarithm
BIAS_PENALTY = 1.0  # of a squared bias, in nats: keeps the biases of rare classes near zero
ITERATIONS = 200
REDRAW_ITERATIONS = 50  # of redraws, which start at the window's own estimate
TOLERANCE = 1e-5  # of the largest change of a proportion
CHUNK_VALUES = 4_000_000  # posteriors held at a time by the redraws


class Calibration:
    """Bias-corrected temperature scaling (Alexandari, Kundaje and Shrikumar 2020, section 3.2), fitted on labels.

    Calibrated posteriors are softmax(log(p) / T + b), T and b by maximum likelihood on the reference.
    """

    def __init__(self, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        logs = _logs(probabilities)
        n, k = logs.shape
        rows = np.arange(n)
        truth = np.bincount(labels, minlength=k)

        def loss(parameters: Matrix) -> tuple[float, Matrix]:
            slope, bias = np.exp(parameters[0]), parameters[1:]
            scores = logs * slope + bias
            posterior = special.softmax(scores, axis=1)
            logarithm = scores - special.logsumexp(scores, axis=1, keepdims=True)
            value = -logarithm[rows, labels].sum() + BIAS_PENALTY * (bias @ bias)
            by_slope = (posterior * logs).sum() - logs[rows, labels].sum()
            by_bias = posterior.sum(axis=0) - truth + 2 * BIAS_PENALTY * bias
            return float(value / n), np.concatenate([[by_slope * slope], by_bias]) / n

        fit = optimize.minimize(loss, np.zeros(k + 1), jac=True, method="L-BFGS-B", bounds=[(-3, 3)] + [(-5, 5)] * k)
        self.slope, self.bias = float(np.exp(fit.x[0])), np.asarray(fit.x[1:])

    def __call__(self, probabilities: NDArray[np.float32]) -> Matrix:
        """Return calibrated probabilities (m, k)."""
        return np.asarray(special.softmax(_logs(probabilities) * self.slope + self.bias, axis=1))


def maximum_likelihood(posterior: Matrix, prior: Matrix, start: Matrix | None = None) -> Matrix:
    """Return the class proportions under which `posterior` (m, k), calibrated at `prior` (k,), is likeliest.

    Expectation maximisation (Saerens, Latinne and Decaestecker 2002, eq. 2.5).
    """
    q = prior if start is None else start
    ratio = np.divide(posterior, prior, out=np.zeros_like(posterior), where=prior > 0)
    for _ in range(ITERATIONS):
        total = np.maximum(ratio @ q, 1e-300)
        updated = q * (ratio.T @ (1 / total)) / len(ratio)
        done = np.abs(updated - q).max() < TOLERANCE
        q = updated
        if done:
            break
    return np.asarray(q / q.sum())


def maximum_likelihood_of_redraws(posterior: Matrix, prior: Matrix, rows: NDArray[np.int64], start: Matrix) -> Matrix:
    """Return the class proportions of many windows, `rows` (B, m) being each one's rows of `posterior`; (B, k)."""
    ratio = np.divide(posterior, prior, out=np.zeros_like(posterior), where=prior > 0).astype(np.float32)
    m, k = rows.shape[1], len(prior)
    chunk = max(1, CHUNK_VALUES // (m * k))
    found = []
    for first in range(0, len(rows), chunk):
        part = ratio[rows[first : first + chunk]]
        q = np.repeat(start.astype(np.float32)[None], len(part), axis=0)
        for _ in range(REDRAW_ITERATIONS):
            total = np.maximum((part @ q[:, :, None])[:, :, 0], 1e-30)
            updated = q * ((1 / total)[:, None, :] @ part)[:, 0, :] / m
            done = np.abs(updated - q).max() < TOLERANCE * 10
            q = updated
            if done:
                break
        found.append(q / q.sum(axis=1, keepdims=True))
    return np.concatenate(found).astype(np.float64)


def black_box(mean_posterior: Matrix, confusion: Matrix) -> Matrix:
    """Return the class proportions by matching moments: black box shift estimation (Lipton, Wang and Smola 2018).

    `confusion` (k, k) holds the mean posterior of each true class, a row a class. Solved by least squares over
    proportions that are none below zero.
    """
    k = len(mean_posterior)
    system = np.vstack([confusion.T, np.ones((1, k))])
    solution, _ = optimize.nnls(system, np.append(mean_posterior, 1.0))
    total = solution.sum()
    return np.asarray(solution / total if total > 0 else np.full(k, 1 / k))


def corrected(probabilities: NDArray[np.floating], weights: Matrix) -> Matrix:
    """Return posteriors (m, k) moved to other class proportions: p(y|x) w(y), normalised.

    `weights` (k,) are the target's proportions over the reference's (Saerens, Latinne and Decaestecker 2002, eq. 2.4);
    a row that they leave nothing of stays as it is.
    """
    moved = np.asarray(probabilities, dtype=np.float64) * weights
    total = moved.sum(axis=1, keepdims=True)
    return np.where(total > 0, moved / np.where(total > 0, total, 1.0), probabilities)


@dataclass(frozen=True, eq=False)
class PriorCorrection:
    """Answers for other class proportions: calibrated posteriors, moved by `corrected`.

    An overconfident model would be moved too little where it is wrong (Alexandari, Kundaje and Shrikumar 2020,
    section 4), so that slope and bias of its calibration are part of the correction.
    """

    slope: float
    bias: Matrix  # (k,)
    weights: Matrix  # (k,) the target's proportions over the reference's

    @classmethod
    def fitted(
        cls, probabilities: NDArray[np.float32], labels: NDArray[np.int64], weights: Matrix
    ) -> "PriorCorrection":
        """Return the correction to `weights` with the calibration of a reference: (n, k), (n,)."""
        calibration = Calibration(probabilities, labels)
        return cls(calibration.slope, calibration.bias, weights)

    def __call__(self, probabilities: NDArray[np.floating]) -> Matrix:
        """Return corrected posteriors (m, k)."""
        posterior = special.softmax(_logs(probabilities) * self.slope + self.bias, axis=1)
        return corrected(posterior, self.weights)


def _logs(probabilities: NDArray[np.floating]) -> Matrix:
    return np.log(np.asarray(probabilities, dtype=np.float64) + LOG_OFFSET)
