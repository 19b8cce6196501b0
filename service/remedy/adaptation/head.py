"""Refits the classifier's last layer: multinomial logistic regression of classes on embeddings.

Rows have weights, and the layer is drawn toward the one that made the probabilities: little data changes little.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from ..paired_bootstrap import folds, log_losses

Matrix = NDArray[np.float64]

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)  # weights of the squared distance from the start, per nat of mean loss
DISTILLING_PENALTY = 1e-6  # keeps the distilled layer finite where classes are separable
ITERATIONS, DISTILLING_ITERATIONS = 60, 200
FOLDS = 3  # cross-validation folds that choose the penalty


class Head(NamedTuple):
    """A last layer: class scores are embeddings @ weights + offsets."""

    weights: Matrix  # (d, k)
    offsets: Matrix  # (k,)

    def scores(self, embeddings: NDArray[np.floating]) -> Matrix:
        """Return logits (m, k) of embeddings (m, d)."""
        return np.asarray(embeddings, dtype=np.float64) @ self.weights + self.offsets

    def probabilities(self, embeddings: NDArray[np.floating]) -> Matrix:
        """Return the softmax of the scores (m, k)."""
        return np.asarray(special.softmax(self.scores(embeddings), axis=1))

    def after(self, first: "Head") -> "Head":
        """Return the one layer that answers as this one does on what `first` makes of embeddings."""
        return Head(first.weights @ self.weights, first.offsets @ self.weights + self.offsets)


class ResidualAdapter(NamedTuple):
    """A residual layer in front of the last layer: straight(e) + outer(relu(inner(e)))."""

    straight: Head  # (d, d)
    inner: Head  # (d, h)
    outer: Head  # (h, d)

    def __call__(self, embeddings: NDArray[np.floating]) -> Matrix:
        """Return adapted embeddings (m, d)."""
        return self.straight.scores(embeddings) + self.outer.scores(np.maximum(self.inner.scores(embeddings), 0))


def distil_head(embeddings: NDArray[np.floating], probabilities: NDArray[np.floating]) -> Head:
    """Return the last layer that made probabilities (n, k) of embeddings (n, d), found from these alone.

    Cross-entropy with the probabilities as soft targets is convex in the layer and least where the layer answers them.
    """
    d, k = embeddings.shape[1], probabilities.shape[1]
    blank = Head(np.zeros((d, k)), np.zeros(k))
    targets, alike = np.asarray(probabilities, np.float64), np.ones(len(embeddings))
    return _fit(embeddings, targets, alike, blank, DISTILLING_PENALTY, DISTILLING_ITERATIONS)


def fit(
    embeddings: NDArray[np.floating],
    labels: NDArray[np.int64],
    weights: Matrix,
    start: Head,
    penalty: float,
) -> Head:
    """Return the last layer that minimises a weighted mean of log-losses plus the penalty on its distance from `start`.

    Parameters
    ----------
    embeddings : NDArray[floating]
        (n, d).
    labels : NDArray[int64]
        (n,) classes below k.
    weights : Matrix
        (n,) none below zero; their scale does not matter.
    start : Head
        Prior mean, the layer that the penalty shrinks to; zeros if there is none.
    penalty : float
        Half of it times the squared distance, in units of standardised embeddings, is added.
    """
    targets = np.eye(len(start.offsets))[labels]
    return _fit(embeddings, targets, weights, start, penalty)


def choose_penalty(
    embeddings: NDArray[np.floating], labels: NDArray[np.int64], weights: Matrix, start: Head, seed: int
) -> float:
    """Return the penalty with the least weighted log-loss on rows held back, by cross-validation."""
    parts = folds(labels, FOLDS, seed)
    losses = np.zeros(len(PENALTIES))
    for part in range(FOLDS):
        held_out = parts == part
        for number, penalty in enumerate(PENALTIES):
            head = fit(embeddings[~held_out], labels[~held_out], weights[~held_out], start, penalty)
            log_loss = log_losses(head.probabilities(embeddings[held_out]), labels[held_out])
            losses[number] += float(weights[held_out] @ log_loss)
    return PENALTIES[int(losses.argmin())]


def _fit(
    embeddings: NDArray[np.floating],
    targets: Matrix,
    weights: Matrix,
    start: Head,
    penalty: float,
    iterations: int = ITERATIONS,
) -> Head:
    """Minimise by L-BFGS in standardised embeddings, in which units of any scale are penalised alike."""
    rows = np.asarray(embeddings, dtype=np.float64)
    share = weights / weights.sum()
    mean = share @ rows
    deviation = np.sqrt(share @ (rows - mean) ** 2)
    deviation[deviation < 1e-6] = 1.0
    rows = (rows - mean) / deviation
    d, k = start.weights.shape
    origin = np.vstack([start.weights * deviation[:, None], start.offsets + mean @ start.weights])

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        layer = flat.reshape(d + 1, k)
        scores = rows @ layer[:d] + layer[d]
        logs = scores - special.logsumexp(scores, axis=1, keepdims=True)
        residual = (np.exp(logs) - targets) * share[:, None]
        offset = layer - origin
        value = -float(share @ (targets * logs).sum(axis=1)) + penalty / 2 * float((offset**2).sum())
        gradient = np.vstack([rows.T @ residual, residual.sum(axis=0)]) + penalty * offset
        return value, gradient.ravel()

    solution = optimize.minimize(loss, origin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    layer = solution.x.reshape(d + 1, k)
    fitted = layer[:d] / deviation[:, None]
    return Head(fitted, layer[d] - mean @ fitted)
