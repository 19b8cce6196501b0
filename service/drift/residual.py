"""The residual test: does a change of class proportions alone explain the window?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import combination, label_shift
from .views import View
from .whitening import Moments, inverse_root

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

REDRAWS = 499
RIDGE = 0.03


@dataclass(frozen=True, eq=False)
class Residual:
    """What class proportions leave unexplained."""

    statistic: float
    p_value: float
    effect: float
    proportions: Matrix  # (k,) maximum likelihood
    low: Matrix  # (k,)
    high: Matrix  # (k,)


class ResidualTest:
    """Compares windows with the reference reweighted to the window's own class proportions.

    With μ_c the mean features of true class c and q the proportions estimated from the window, the residual is
    mean(window) - Σ q_c μ_c, measured per view in units of the covariance within classes. Its null distribution
    comes from windows redrawn from the reference with class proportions q, q estimated again for each; a factor
    1 + m Σ q_c² / n_c stands for the sampling error of μ.
    """

    def __init__(self, views: Mapping[View, Floats], posterior: Matrix, labels: NDArray[np.int64], seed: int) -> None:
        k = posterior.shape[1]
        self._views = views
        self._posterior = posterior
        self._labels = labels
        self._seed = seed
        self.counts = np.bincount(labels, minlength=k).astype(np.float64)
        self.prior = self.counts / len(labels)
        self._roots: dict[View, Matrix] = {}
        self._class_means: dict[View, Matrix] = {}
        self._features: dict[View, Floats] = {}
        present = np.maximum(self.counts, 1)[:, None]
        one_hot = np.eye(k, dtype=np.float32)[labels]
        for view, rows in views.items():
            means = (one_hot.T @ rows).astype(np.float64) / present
            within = Moments.of((rows - means[labels]).astype(np.float32)).covariance
            root = inverse_root(within, RIDGE)
            self._roots[view] = root
            self._class_means[view] = means @ root
            self._features[view] = (rows @ root).astype(np.float32)

    def __call__(self, views: Mapping[View, Floats], posterior: Matrix) -> Residual:
        """Test a window: its views (m, ...) and calibrated posterior (m, k)."""
        m = len(posterior)
        q = label_shift.maximum_likelihood(posterior, self.prior)
        rng = np.random.default_rng([self._seed, m])
        rows = self._redraw(q, m, rng)
        again = label_shift.maximum_likelihood_of_redraws(self._posterior, self.prior, rows, q)
        weights = np.zeros((REDRAWS, len(self._labels)), dtype=np.float32)
        np.add.at(weights, (np.arange(REDRAWS)[:, None], rows), np.float32(1 / m))
        inflation = 1 + m * float((q**2 / np.maximum(self.counts, 1)).sum())
        statistics = []
        for view, features in views.items():
            observed = features.mean(axis=0, dtype=np.float64) @ self._roots[view] - q @ self._class_means[view]
            redrawn = (weights @ self._features[view]).astype(np.float64) - again @ self._class_means[view]
            lengths = inflation * (redrawn**2).sum(axis=1)
            statistics.append(np.concatenate([[(observed**2).sum()], lengths]))
        table = np.array(statistics)
        error = again - q
        return Residual(
            statistic=float(table[:, 0].sum()),
            p_value=combination.combined(table),
            effect=_effect(table, m),
            proportions=q,
            low=np.clip(q - np.quantile(error, 0.975, axis=0), 0, 1),
            high=np.clip(q - np.quantile(error, 0.025, axis=0), 0, 1),
        )

    def _redraw(self, q: Matrix, m: int, rng: np.random.Generator) -> NDArray[np.int64]:
        weight = (q / np.maximum(self.counts, 1))[self._labels]
        cumulated = np.cumsum(weight)
        drawn = np.searchsorted(cumulated, rng.random((REDRAWS, m)) * cumulated[-1], side="right")
        return np.asarray(drawn.clip(max=len(weight) - 1))


def _effect(table: Matrix, m: int) -> float:
    """Return the largest squared residual beyond chance, per view in within-class deviations, mapped to 0..1."""
    beyond = float(np.maximum(table[:, 0] - np.median(table[:, 1:], axis=1), 0).max())
    return beyond / (1 + beyond)
