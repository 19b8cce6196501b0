"""The class proportions of an unlabelled window: maximum a posteriori, posterior draws, and a moment estimate."""

import numpy as np

from .types import Float32Array, FloatArray

PRIOR_STRENGTH = 0.01  # rows of the reference's mix that the prior adds for each row of the window
ITERATIONS = 200  # expectation-maximisation steps at most
REDRAW_ITERATIONS = 50  # steps at most for redrawn windows, which start at the estimate of the window itself
TOLERANCE = 1e-5  # largest change of a proportion in a step at which the iterations end
MOMENT_ITERATIONS = 200  # steps at most of the estimate by moments
PROPORTION_DRAWS = 200  # draws from the posterior distribution of the proportions
BURN_IN = 20  # draws that are discarded, since the chain begins at the estimate
SAMPLED_CLASSES = 32  # likeliest classes of a row among which its class is drawn
ROWS_PER_PSEUDO_ROW = 10  # rows of the window for each row that the prior of the draws adds, at least
LARGEST_WEIGHT = 100.0  # importance weight of a class at most


def likelihood_ratios(posterior: FloatArray, prior: FloatArray) -> FloatArray:
    """Return p(x|y) / p(x) of each row and class (m, k): posteriors over the proportions (k,) they are calibrated at.

    A class without proportion has the ratio 0.
    """
    return np.divide(posterior, prior, out=np.zeros_like(posterior), where=prior > 0)


def estimate_proportions(posterior: FloatArray, prior: FloatArray) -> FloatArray:
    """Estimate the class proportions of a window by maximum a posteriori.

    The likelihood is that of Saerens et al. (2002), maximised by their expectation maximisation. A Dirichlet prior
    adds one row of the reference's mix for each hundred rows of the window, so that no class of the reference is
    estimated to be impossible.

    Parameters
    ----------
    posterior : float (m, k)
        Calibrated at `prior`.
    prior : float (k,)
        Class proportions of the reference.

    Returns
    -------
    float (k,)

    References
    ----------
    Saerens, Latinne and Decaestecker (2002), Adjusting the outputs of a classifier to new a priori probabilities.
    Ye, Tsuchida, Petersson and Barnes (2024), Label shift estimation for class-imbalance problem: a Bayesian approach.
    """
    ratios, m = likelihood_ratios(posterior, prior), len(posterior)
    q = prior
    for _ in range(ITERATIONS):
        total = np.maximum(ratios @ q, 1e-300)
        updated = (q * (ratios.T @ (1 / total)) / m + PRIOR_STRENGTH * prior) / (1 + PRIOR_STRENGTH)
        has_converged = np.abs(updated - q).max() < TOLERANCE
        q = updated
        if has_converged:
            break
    return np.asarray(q / q.sum())


def estimate_redrawn_proportions(
    ratios: Float32Array, counts: Float32Array, prior: FloatArray, start: FloatArray
) -> FloatArray:
    """Estimate the class proportions of many windows that are redrawn from the same rows, as `estimate_proportions`.

    The iterations of a window end when its own proportions do: a few windows need many times those of most.

    Parameters
    ----------
    ratios : float32 (n, k)
        Likelihood ratios of the rows.
    counts : float32 (n, windows)
        How often each window holds each row.
    prior : float (k,)
        Class proportions of the reference.
    start : float (k,)
        Where the iterations begin.

    Returns
    -------
    float (windows, k)
    """
    m = float(counts[:, 0].sum())
    floor = (PRIOR_STRENGTH * prior).astype(np.float32)
    q = np.repeat(start.astype(np.float32)[None], counts.shape[1], axis=0)
    moving = np.arange(len(q))  # the windows whose iterations have not ended
    for _ in range(REDRAW_ITERATIONS):
        before = q[moving]
        total = np.maximum(ratios @ before.T, np.float32(1e-30))
        np.divide(counts, total, out=total)
        updated = (before * (total.T @ ratios) / m + floor) / (1 + PRIOR_STRENGTH)
        q[moving] = updated
        has_moved = np.abs(updated - before).max(axis=1) >= TOLERANCE
        moving, counts = moving[has_moved], counts[:, has_moved]
        if not len(moving):
            break
    return np.asarray(q / q.sum(axis=1, keepdims=True), dtype=np.float64)


def posterior_proportions(
    posterior: FloatArray, prior: FloatArray, start: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Draw class proportions from their posterior distribution given a window, by Gibbs sampling.

    The draws hold the window's sampling error and the classes' confusion, also where an estimate lies at zero, where
    a bootstrap is inconsistent (Andrews 2000). The prior is Jeffreys', weaker where the window has few rows a class.

    Parameters
    ----------
    posterior : float (m, k)
        Calibrated at `prior`.
    prior : float (k,)
        Class proportions of the reference; a class without any gets none.
    start : float (k,)
        Where the chain begins.

    Returns
    -------
    float (200, k)

    References
    ----------
    Diebolt and Robert (1994), Estimation of finite mixture distributions through Bayesian sampling.
    Andrews (2000), Inconsistency of the bootstrap when a parameter is on the boundary of the parameter space.
    """
    m, k = posterior.shape
    ratios = likelihood_ratios(posterior, prior)
    width = min(k, SAMPLED_CLASSES)
    likely = ratios * np.maximum(start, prior / 10)
    classes = np.argpartition(-likely, width - 1, axis=1)[:, :width]
    ratios = np.take_along_axis(ratios, classes, axis=1)
    weight = np.where(prior > 0, min(0.5, m / (ROWS_PER_PSEUDO_ROW * k)), 0)
    q, draws = start, np.empty((PROPORTION_DRAWS, k))
    for sweep in range(-BURN_IN, PROPORTION_DRAWS):
        cumulated = np.cumsum(ratios * q[classes], axis=1)
        drawn_columns = (cumulated < rng.random((m, 1)) * cumulated[:, -1:]).sum(axis=1)
        counts = np.bincount(classes[np.arange(m), np.minimum(drawn_columns, width - 1)], minlength=k)
        gamma = rng.standard_gamma(counts * (prior > 0) + weight)
        q = np.maximum(gamma, 1e-12 * (prior > 0))
        q = q / q.sum()
        if sweep >= 0:
            draws[sweep] = q
    return draws


def importance_weights(estimate: FloatArray, prior: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the weight of each class (k,) that turns the reference's proportions into the window's.

    A weight says how much a class counts when a model is corrected or refitted, and a weight of zero would remove it
    for good. So a class that the window may lack, whose interval begins at 0, gets the weight of its interval's upper
    end, at most 1; a class that the reference lacks keeps the weight 1; no weight exceeds 100.
    """
    reference = np.where(prior > 0, prior, 1.0)
    weights = estimate / reference
    cautious = np.maximum(weights, np.minimum(high / reference, 1.0))
    weights = np.where(low > 0, weights, cautious)
    return np.where(prior > 0, np.minimum(weights, LARGEST_WEIGHT), 1.0)


def black_box(mean_posterior: FloatArray, confusion: FloatArray) -> FloatArray:
    """Estimate class proportions by matching moments: black box shift estimation.

    The proportions q are those whose mixture of the classes' mean posteriors is closest to the window's mean
    posterior in Kullback-Leibler divergence. The iterations keep q positive and cost k² each.

    Parameters
    ----------
    mean_posterior : float (k,)
        Mean posterior of the window.
    confusion : float (k, k)
        The mean posterior of each true class, a row a class.

    References
    ----------
    Lipton, Wang and Smola (2018), Detecting and correcting for label shift with black box predictors.
    Lucy (1974), An iterative technique for the rectification of observed distributions.
    """
    q = np.full(len(mean_posterior), 1 / len(mean_posterior))
    for _ in range(MOMENT_ITERATIONS):
        updated = q * (confusion @ (mean_posterior / np.maximum(q @ confusion, 1e-300)))
        has_converged = np.abs(updated - q).max() < TOLERANCE
        q = updated / updated.sum()
        if has_converged:
            break
    return q


def share_ratios(proportions: FloatArray, prior: FloatArray) -> FloatArray:
    """Return class proportions over the reference's (k,); 0 for a class that the reference lacks."""
    return np.divide(proportions, prior, out=np.zeros_like(proportions), where=prior > 0)
