"""The tests of a window of one size, all from the same draws, so that their joint null distribution is known."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .ks import KolmogorovSmirnov
from .mmd import MMD, Discrepancy
from .permutations import Draws, MeanDifferences
from .proportions import g_statistic, one_hot
from .views import View
from .whitening import Moments, inverse_root, pooled_covariance

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

PRINCIPAL = 8  # principal components of the embedding with a KS distance of their own
KERNEL_VIEWS: tuple[View, ...] = ("E", "P")
KS_CLASSES = 32  # commonest classes whose probabilities have one

GROUPS = {
    "mmd": ("mmd E", "mmd P"),
    "mean": ("mean E", "mean P", "mean A"),
    "ks": ("ks P", "ks E"),
    "proportions": ("counts", "soft counts", "soft count"),
    "properties": ("mean A", "ks A"),
}


class Outcome(NamedTuple):
    """What the battery says of a window; arrays have one column a draw, the first being the window itself."""

    statistics: dict[str, Matrix]  # name -> (B + 1,)
    properties: Matrix | None  # (2, p, B + 1): absolute mean difference, KS distance
    discrepancy: Discrepancy


class Battery:
    """All tests of windows of one size against one reference.

    Parameters
    ----------
    views : the reference's views E, P, L and, where it has properties, A; each (n, columns).
    predicted : (n,) the reference's predicted labels.
    draws : for windows of this size.
    """

    def __init__(self, views: Mapping[View, Floats], predicted: NDArray[np.int64], draws: Draws) -> None:
        self._axes = _axes(views)
        k = views["P"].shape[1]
        self._counts = one_hot(predicted, k)
        self._draws = draws
        self._moments = {view: Moments.of(views[view]) for view in views if view != "L"}
        self._means = {view: MeanDifferences(rows, draws) for view, rows in views.items()}
        self._deviations = np.maximum(views["L"].std(axis=0, dtype=np.float64), 1e-12)
        self._kernels = {view: MMD(views[view], draws) for view in KERNEL_VIEWS}
        self._ks = {view: KolmogorovSmirnov(rows, draws) for view, rows in projected(views, self._axes).items()}

    def __call__(self, views: Mapping[View, Floats], predicted: NDArray[np.int64]) -> Outcome:
        """Test a window: its views and predicted labels."""
        statistics: dict[str, Matrix] = {}
        discrepancies = {view: kernel(views[view]) for view, kernel in self._kernels.items()}
        for view, found in discrepancies.items():
            statistics[f"mmd {view}"] = found.mmd2
        differences = {view: self._means[view](rows) for view, rows in views.items()}
        for view, moments in self._moments.items():
            if view not in views:  # properties were not sent
                continue
            root = inverse_root(pooled_covariance(moments, views[view]))
            statistics[f"mean {view}"] = ((differences[view] @ root) ** 2).sum(axis=1)
        distances = {view: self._ks[view](rows) for view, rows in projected(views, self._axes).items()}
        for view, distance in distances.items():
            statistics[f"ks {view}"] = distance.max(axis=0)
        counts = one_hot(predicted, self._counts.shape[1])
        window = (self._draws.reference.T @ self._counts + self._draws.window.T @ counts).astype(np.float64)
        total = self._counts.sum(axis=0, dtype=np.float64) + counts.sum(axis=0, dtype=np.float64)
        statistics["counts"] = g_statistic(window, total - window)
        statistics |= soft_counts(differences["L"], self._deviations)
        properties = None
        if "A" in views:
            properties = np.stack([np.abs(differences["A"]).T, distances["A"]])
        return Outcome(statistics, properties, discrepancies["E"])


class CalmNull:
    """The null distribution of the same statistics from traffic that was declared calm, in its own order.

    Windows are drawn from it in blocks and compared with all of it, so that bursts and sessions are part of the null.
    """

    def __init__(
        self,
        reference: Mapping[View, Floats],
        calm: Mapping[View, Floats],
        predicted: NDArray[np.int64],
        rows: NDArray[np.int64],
        reference_size: int,
    ) -> None:
        count, m = rows.shape
        n = len(calm["E"])
        weights = np.zeros((count, n), dtype=np.float32)
        np.add.at(weights, (np.arange(count)[:, None], rows), np.float32(1))
        member = Draws(np.ascontiguousarray(weights.T), np.zeros((0, count), dtype=np.float32))
        statistics: dict[str, Matrix] = {}
        for view in KERNEL_VIEWS:
            statistics[f"mmd {view}"] = MMD(calm[view], member).against_all(m)
        differences = {view: MeanDifferences(values, member).against_all(values, m) for view, values in calm.items()}
        for view in calm:
            if view != "L":
                root = inverse_root(Moments.of(reference[view]).covariance)
                statistics[f"mean {view}"] = ((differences[view] @ root) ** 2).sum(axis=1)
        axes = _axes(reference)
        distances = {}
        for view, values in projected(calm, axes).items():
            ks = KolmogorovSmirnov(values, member)
            distances[view] = ks.against_all(values, m)
            statistics[f"ks {view}"] = distances[view].max(axis=0)
        counts = one_hot(predicted, calm["P"].shape[1])
        statistics["counts"] = g_statistic(
            (weights @ counts).astype(np.float64), counts.mean(axis=0, dtype=np.float64) * reference_size
        )
        deviations = np.maximum(reference["L"].std(axis=0, dtype=np.float64), 1e-12)
        statistics |= soft_counts(differences["L"], deviations)
        self.statistics = statistics
        self.properties = np.stack([np.abs(differences["A"]).T, distances["A"]]) if "A" in calm else None
        self.size = m
        self.means = np.hstack([differences["P"], differences["L"]])


def soft_counts(differences: Matrix, deviations: Matrix) -> dict[str, Matrix]:
    """Return the statistics of the mean probabilities: over all classes, and of the class that moved most."""
    return {
        "soft counts": (differences**2).sum(axis=1),
        "soft count": np.abs(differences / deviations).max(axis=1),
    }


def projected(views: Mapping[View, Floats], axes: tuple[Floats, NDArray[np.int64]]) -> Mapping[View, Floats]:
    """Return the dimensions that KS compares: principal components of E, the commonest classes of P, all of A."""
    found: dict[View, Floats] = {"E": views["E"] @ axes[0], "P": views["P"][:, axes[1]]}
    if "A" in views:
        found["A"] = views["A"]
    return found


def _axes(views: Mapping[View, Floats]) -> tuple[Floats, NDArray[np.int64]]:
    _, vectors = np.linalg.eigh(Moments.of(views["E"]).covariance)
    common = np.argsort(-views["L"].mean(axis=0, dtype=np.float64), kind="stable")[:KS_CLASSES]
    return vectors[:, ::-1][:, :PRINCIPAL].astype(np.float32), np.sort(common)
