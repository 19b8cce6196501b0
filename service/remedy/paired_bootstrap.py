"""Measure an improvement with its interval: cross-validation folds, row-wise losses, and a paired bootstrap."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..drift.intervals import NORMAL_QUANTILE
from .result import Improvement

Matrix = NDArray[np.float64]

MIN_PROBABILITY = 1e-7  # smallest probability whose logarithm is taken: near the smallest float16
RESAMPLES = 2000  # bootstrap samples: the ends of a 95 % interval then vary by a few percent of its width
CHUNK = 100  # bootstrap samples in memory at a time
HIGHER_IS_BETTER = {"accuracy"}
POWER_QUANTILE = 0.84  # normal quantile of a power of four in five


def folds(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return the fold, 0 to count - 1, of each row (n,): each class is spread over all folds evenly."""
    rng = np.random.default_rng(seed)
    parts = np.empty(len(labels), dtype=np.int64)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    parts[order] = np.arange(len(labels)) % count
    return parts


def log_losses(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> Matrix:
    """Return -log of each true class's probability (m,), in nats."""
    likelihoods = np.asarray(probabilities, dtype=np.float64)[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.maximum(likelihoods, MIN_PROBABILITY)))


def hits(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> Matrix:
    """Return 1 where the likeliest class is the true one, else 0 (m,)."""
    return np.asarray(probabilities.argmax(axis=1) == labels, dtype=np.float64)


def confusion(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> list[list[int]]:
    """Count (true, predicted) pairs: (k, k)."""
    k = probabilities.shape[1]
    pairs = labels * k + np.asarray(probabilities).argmax(axis=1)
    counts: list[list[int]] = np.bincount(pairs, minlength=k * k).reshape(k, k).tolist()
    return counts


def compare_posteriors(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    labels: NDArray[np.int64],
    measured_on: str,
    estimated: bool,
    weights: Matrix | None = None,
    seed: int = 0,
    weight_draws: Matrix | None = None,
) -> tuple[Improvement, Improvement]:
    """Return the improvements in accuracy and log-loss of posteriors (m, k) on rows held back from fitting `after`.

    The other parameters are those of `paired_bootstrap`.
    """
    right = hits(before, labels), hits(after, labels)
    losses = log_losses(before, labels), log_losses(after, labels)
    return (
        paired_bootstrap("accuracy", *right, measured_on, estimated, weights, seed, weight_draws, labels),
        paired_bootstrap("log-loss", *losses, measured_on, estimated, weights, seed, weight_draws, labels),
    )


def average(first: Improvement, second: Improvement) -> Improvement:
    """Return the mean of an improvement that was judged in two ways, its interval as if they agreed by chance."""
    return replace(
        first,
        before=(first.before + second.before) / 2,
        after=(first.after + second.after) / 2,
        amount=(first.amount + second.amount) / 2,
        low=(first.low + second.low) / 2,
        high=(first.high + second.high) / 2,
    )


def paired_bootstrap(
    metric: str,
    before: Matrix,
    after: Matrix,
    measured_on: str,
    estimated: bool,
    weights: Matrix | None = None,
    seed: int = 0,
    weight_draws: Matrix | None = None,
    groups: NDArray[np.int64] | None = None,
) -> Improvement:
    """Return the improvement of a weighted mean over rows, with the interval of a paired bootstrap.

    Parameters
    ----------
    before, after : Matrix
        (m,) the metric of each row without and with the remedy.
    weights : Matrix or None
        (m,) of the rows; all alike unless given.
    weight_draws : Matrix or None
        (RESAMPLES, groups), weights that are estimates, drawn from their distribution; each redraw of the rows takes
        one of them, so that the interval contains the error of the estimate.
    groups : NDArray[int64] or None
        (m,), the group of each row whose drawn weight is the row's; required with `weight_draws`.

    Notes
    -----
    Rows are redrawn with both their values and their weight, and the weights are normalised again in each draw,
    so that the interval contains the uncertainty of the weighted mean's denominator. It is the percentile interval
    (Efron and Tibshirani 1993, section 13.3).
    """
    share = np.ones(len(before)) if weights is None else weights
    better = after - before if metric in HIGHER_IS_BETTER else before - after
    rng = np.random.default_rng(seed)
    m = len(before)
    drawn = []
    for first in range(0, RESAMPLES, CHUNK):
        counts = rng.multinomial(m, np.full(m, 1 / m), size=min(CHUNK, RESAMPLES - first))
        shares = share if weight_draws is None else weight_draws[first : first + len(counts)][:, groups]
        weighted = counts * shares
        drawn.append((weighted @ better) / np.maximum(weighted.sum(axis=1), 1e-300))
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975]).tolist()
    return Improvement(
        metric=metric,
        before=float(np.average(before, weights=share)),
        after=float(np.average(after, weights=share)),
        amount=float(np.average(better, weights=share)),
        low=low,
        high=high,
        measured_on=measured_on,
        estimated=estimated,
    )


def further_labels(measured: Improvement, labels: int) -> int | None:
    """Return how many further labels would make an improvement significant, or None if there is no improvement.

    The interval narrows with the root of their number n; it lies above zero in four of five repetitions from
    n = ((z_.975 + z_.8) s / improvement)² on, s being the deviation of one label's improvement. 0 where it does now.
    """
    if measured.is_significant:
        return 0
    if measured.amount <= 0:
        return None
    deviation = (measured.high - measured.low) / (2 * NORMAL_QUANTILE) * np.sqrt(labels)
    return max(1, int(np.ceil(((NORMAL_QUANTILE + POWER_QUANTILE) * deviation / measured.amount) ** 2)) - labels)
