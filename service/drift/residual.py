"""The residual test: does a change of class proportions alone explain the window?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from . import combination, label_shift
from .class_groups import MAX_CLASSES
from .prediction_views import LOG_OFFSET, PredictionViews, ViewName
from .scaling import Scaling
from .tested_window import NormalTraffic
from .types import Float32Array, FloatArray, IntArray
from .whitening import inverse_root

MAX_REDRAWS, MIN_REDRAWS = 499, 199  # windows drawn under the null hypothesis; fewer for hundreds of classes
REDRAWN_VALUES = 5e7  # rows x classes x redraws above which fewer windows are drawn
HALVES_STREAM = 3  # number of the random stream of the halves, which no other use of a seed shares
RIDGE = 0.03  # share of the largest eigenvalue that is added to all when features are whitened within classes


@dataclass(frozen=True, eq=False)
class Residual:
    """The distance of a window from the reference once class proportions are accounted for.

    Attributes
    ----------
    statistic : float
        Sum over the views of the squared residual.
    p_value : float
        The p-value of all views together.
    effects : tuple[float, float, float]
        The largest squared residual beyond chance, in deviations within classes, mapped to 0..1: at the median of the
        null distribution, and at its .975 and .025 quantiles.
    """

    statistic: float
    p_value: float
    effects: tuple[float, float, float]


class _ClassFeatures(NamedTuple):
    """A view whitened within classes."""

    scaling: Scaling
    root: FloatArray  # (c, c)
    means: FloatArray  # (k, c) of all rows of each class
    apart: FloatArray  # (k, c), the means as far apart as those of the classes themselves, without their errors
    deviations: Float32Array  # (rows, c) of the redrawn rows from the mean of their class


class ResidualTest:
    """Compares windows with the reference at the window's own class proportions.

    With μ_c the mean features of true class c and q the proportions estimated from the window, the residual is
    mean(window) - Σ q_c μ_c, measured in each view in units of the covariance within classes.

    The whitening is fitted on one half of the reference, and windows are redrawn from the other half with class
    proportions q. A whitening fitted on few rows is tight on these rows; neither the window nor the redrawn windows
    hold any of them. Deviations within classes are scaled by sqrt(n_c / (n_c - 1)), the class means of each redraw
    err by what n_c rows err, and q is estimated again for each redraw.

    Parameters
    ----------
    views : PredictionViews
        Views of the reference.
    posterior : float (n, k)
        Calibrated.
    labels : int (n,)
        True classes.
    seed : int
        Seed of the halves and the redraws.

    Notes
    -----
    The null distribution is approximate: it is that of the reference's own rows, and the estimate of the proportions
    is as good as the calibration of the model.
    """

    def __init__(self, views: PredictionViews, posterior: FloatArray, labels: IntArray, seed: int) -> None:
        k = posterior.shape[1]
        self._seed = seed
        self._counts = np.bincount(labels, minlength=k).astype(np.float64)
        self.prior = self._counts / len(labels)
        fitted = _half_of_each_class(labels, np.random.default_rng([seed, HALVES_STREAM]))
        drawn = np.setdiff1d(np.arange(len(labels)), fitted)
        self._labels = labels[drawn]
        self._drawn_counts = np.bincount(self._labels, minlength=k).astype(np.float64)
        self._ratios = label_shift.likelihood_ratios(posterior, self.prior)[drawn].astype(np.float32)
        cells = len(drawn) * k * MAX_REDRAWS
        self._redraws = MAX_REDRAWS if cells <= REDRAWN_VALUES else MIN_REDRAWS
        self._features = {
            name: self._fit(columns, labels, fitted, drawn) for name, columns in _explanatory_views(views).items()
        }

    def _fit(self, columns: Float32Array, labels: IntArray, fitted: IntArray, drawn: IntArray) -> _ClassFeatures:
        scaling = Scaling(columns[fitted])
        rows = scaling(columns)
        means = _class_means(rows, labels, self._counts)
        fitted_counts = np.bincount(labels[fitted], minlength=len(self._counts)).astype(np.float64)
        within = rows[fitted] - _class_means(rows[fitted], labels[fitted], fitted_counts)[labels[fitted]]
        freedom = max(len(fitted) - int(np.count_nonzero(fitted_counts)), 1)
        root = inverse_root((within.T @ within) / freedom, RIDGE)
        deviations = rows[drawn] - _class_means(rows[drawn], self._labels, self._drawn_counts)[self._labels]
        counts = self._drawn_counts[self._labels, None]
        deviations *= np.sqrt(counts / np.maximum(counts - 1, 1)).astype(np.float32)  # their means are fitted to them
        whitened: Float32Array = (deviations @ root).astype(np.float32)
        return _ClassFeatures(scaling, root, means @ root, self._without_errors(means @ root, whitened), whitened)

    def _without_errors(self, means: FloatArray, deviations: Float32Array) -> FloatArray:
        """Return class means (k, c) drawn together so that they spread as those of endless rows would.

        The means of few rows lie farther apart than the classes: by the variance within classes over their rows.
        """
        present = self._counts > 0
        several = self._drawn_counts[self._labels] > 1
        within = float((deviations[several].astype(np.float64) ** 2).sum()) / max(int(several.sum()), 1)
        error = within / np.maximum(self._counts, 1)
        centre = means[present].mean(axis=0)
        spread = float(((means[present] - centre) ** 2).sum()) / max(int(present.sum()) - 1, 1)
        between = max(spread - float(error[present].mean()), 0.0)
        reliability = between / np.maximum(between + error, 1e-300)
        return np.asarray(centre + np.sqrt(reliability)[:, None] * (means - centre))

    def _explained_share(self, weights: FloatArray) -> float:
        """Return the share of weights of the classes, (k,), that lies on classes whose redrawn rows deviate.

        A class with one redrawn row has no deviation from its mean. The deviations of the others are made larger by
        this share, once for the window's rows and once for the errors of class means: rare classes weigh more there.
        """
        total = float(weights.sum())
        represented = float(weights[self._drawn_counts > 1].sum())
        return represented / total if represented > 0 else 1.0

    def __call__(
        self,
        views: PredictionViews,
        proportions: FloatArray,
        normal: tuple[NormalTraffic, FloatArray] | None = None,
    ) -> Residual:
        """Test a window.

        Parameters
        ----------
        views : PredictionViews
            Views of the window.
        proportions : float (k,)
            Estimated from the window.
        normal : tuple[NormalTraffic, FloatArray] or None
            Pair of NormalTraffic and float (k,), default None. Traffic of the window's context, and the class
            proportions estimated from it: what these leave unexplained there is no residual of the window.
        """
        m, q = len(views), proportions
        rng = np.random.default_rng([self._seed, m])
        counts = self._redrawn_counts(q, m, rng)
        again = label_shift.estimate_redrawn_proportions(self._ratios, counts, self.prior, q)
        classes = (counts.T @ np.eye(len(q), dtype=np.float32)[self._labels]).astype(np.float64) / m
        multipliers = rng.standard_normal(counts.shape, dtype=np.float32)
        variances = np.where(
            self._counts > 0, q**2 / np.maximum(self._counts, 1), 0
        )  # weighted variances of the class means
        error = np.sqrt(variances / np.maximum(self._drawn_counts, 1) / self._explained_share(variances))
        row_weight = np.float32(1 / (m * np.sqrt(self._explained_share(q))))
        if normal is not None:
            row_weight *= np.float32(np.sqrt(1 + m / normal[0].size))  # The traffic of the context errs, too.
        weights = counts * row_weight - multipliers * error[self._labels, None].astype(np.float32)
        usual = {} if normal is None else _explanatory_views(normal[0].views)
        usual_proportions = q if normal is None else normal[1]
        lengths = []
        for name, columns in _explanatory_views(views).items():
            if name not in self._features:
                continue
            scaling, root, means, apart, deviations = self._features[name]
            observed = scaling(columns).mean(axis=0, dtype=np.float64) @ root - q @ means
            if name in usual:
                observed -= scaling(usual[name]).mean(axis=0, dtype=np.float64) @ root - usual_proportions @ means
            redrawn = (weights.T @ deviations).astype(np.float64) + (classes - again) @ apart
            lengths.append(np.concatenate([[(observed**2).sum()], (redrawn**2).sum(axis=1)]))
        table = np.array(lengths)
        return Residual(float(table[:, 0].sum()), combination.combined(table), _effects(table))

    def _redrawn_counts(self, q: FloatArray, m: int, rng: np.random.Generator) -> Float32Array:
        """Return how often each redrawn window (columns) holds each row, with class proportions q."""
        share = (q / np.maximum(self._drawn_counts, 1))[self._labels]
        drawn = rng.multinomial(m, share / share.sum(), size=self._redraws)
        return np.ascontiguousarray(drawn.T, dtype=np.float32)


def _explanatory_views(views: PredictionViews) -> Mapping[ViewName, Float32Array]:
    """Return the views whose means a change of class proportions should explain."""
    columns: dict[ViewName, Float32Array] = {"embedding": views.embedding}
    if views.probabilities.shape[1] <= MAX_CLASSES:
        columns["log_probability"] = np.log(views.probabilities + np.float32(LOG_OFFSET))
    if views.properties is not None:
        columns["property"] = views.properties
    return columns


def _half_of_each_class(labels: IntArray, rng: np.random.Generator) -> IntArray:
    """Return the rows of a random half of each class, the smaller half where a class has an odd number."""
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(by_class[rank < np.repeat(counts // 2, counts)])


def _class_means(rows: Float32Array, labels: IntArray, counts: FloatArray) -> FloatArray:
    one_hot = np.eye(len(counts), dtype=np.float32)[labels]
    return np.asarray((one_hot.T @ rows).astype(np.float64) / np.maximum(counts, 1)[:, None])


def _effects(table: FloatArray) -> tuple[float, float, float]:
    beyond = [
        float(np.maximum(table[:, 0] - np.quantile(table[:, 1:], level, axis=1), 0).max())
        for level in (0.5, 0.975, 0.025)
    ]
    middle, low, high = beyond
    return middle / (1 + middle), low / (1 + low), high / (1 + high)
