"""Class weights estimated on one half of a span and judged by the other, so that noise is not an improvement."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...drift.label_shift import estimate_proportions, importance_weights, posterior_proportions
from ..paired_bootstrap import RESAMPLES
from ..remedy_context import RemedyContext

Matrix = NDArray[np.float64]


class HalfSpan(NamedTuple):
    """Class weights from one half of a span, and the class weights to judge them by from the other half.

    Attributes
    ----------
    fitted : float (k,)
        Importance weights estimated on the one half.
    target : float (k,)
        Class proportions of the other half over the reference's.
    target_draws : float (RESAMPLES, k)
        The same drawn from the posterior distribution of the proportions, so that an interval contains the error of the
        estimate.
    """

    fitted: Matrix
    target: Matrix
    target_draws: Matrix


def halves_of_span(context: RemedyContext) -> tuple[HalfSpan, HalfSpan]:
    """Return both ways to estimate class weights on a random half of the span and judge them by the other half.

    Judged by the estimate that made it, every correction has an expected improvement of the divergence between the
    estimated and the true proportions, also where these never changed.
    """
    reference = context.span.reference
    labels = context.require_reference_labels()
    prior = np.bincount(labels, minlength=reference.classes) / len(labels)
    posterior = reference.calibration(context.span.sample.probabilities)
    rng = np.random.default_rng(context.seed)
    order = rng.permutation(len(posterior))
    halves = [_weights(posterior[part], prior, rng) for part in (order[0::2], order[1::2])]
    (first, first_target, first_draws), (second, second_target, second_draws) = halves
    return HalfSpan(first, second_target, second_draws), HalfSpan(second, first_target, first_draws)


def _weights(posterior: Matrix, prior: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix, Matrix]:
    estimate = estimate_proportions(posterior, prior)
    draws = posterior_proportions(posterior, prior, estimate, rng)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    half_row = 0.5 / len(posterior)
    weights = importance_weights(estimate, prior, np.clip(low - half_row, 0, 1), high)
    divisor = np.where(prior > 0, prior, 1.0)
    return weights, estimate / divisor, draws[rng.integers(0, len(draws), RESAMPLES)] / divisor
