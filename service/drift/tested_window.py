"""A validated window, and the outcome of its tests."""

from dataclasses import dataclass

import numpy as np

from . import combination
from .prediction_views import PredictionViews
from .samples import Sample
from .statistic import Statistic, Values
from .types import FloatArray, IntArray
from .window_repeats import Repeats

FAMILIES = ("mmd", "mean", "ks", "proportions", "properties")


@dataclass(frozen=True, eq=False)
class TestedWindow:
    """A validated window: the rows that are tested, and how many repeat each other.

    Attributes
    ----------
    size : int
        Predictions in the window.
    rows : int (m,)
        The tested rows as the caller numbers them: the first of each group of equal rows.
    sample, views : Sample
        The tested rows.
    repeats : Repeats
        Exact repeats among all rows.
    context : float64 (m, c)
        The covariates of the tested rows; None if what is normal does not depend on any.
    seed : tuple of int
        Seed of everything random about this window; it differs from window to window, so that no set of permutations
        serves for ever.
    """

    size: int
    rows: IntArray
    sample: Sample
    views: PredictionViews
    repeats: Repeats
    seed: tuple[int, int]
    context: FloatArray | None = None

    def rng(self, use: int) -> np.random.Generator:
        """Return random numbers of the window's own for one use."""
        return np.random.default_rng([*self.seed, use])


@dataclass(frozen=True, eq=False)
class NormalTraffic:
    """Calm traffic of a window's context, which the window is compared with instead of the reference.

    Attributes
    ----------
    sample, views : Sample
        The traffic; a row may come several times.
    size : int
        The number of independent rows that it is worth.
    """

    sample: Sample
    views: PredictionViews
    size: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """The results of the tests of a window.

    Attributes
    ----------
    values : dict[str, Values]
        Values by statistic; the first column is the observed window, the others are the null distribution.
    resampled : dict[str, Values]
        Resampled by statistic, from a bootstrap of window and reference; empty if no intervals were asked for.
    families : dict[str, tuple[str, ...]]
        The names of the statistics in each family of tests.
    floor : float
        The smallest p-value that the null distribution allows.
    design_effect : float or None
        How many calm predictions count as one independent prediction; None without calm traffic.
    normal : NormalTraffic or None
        The calm traffic of the window's context; None if what is normal does not depend on any.
    """

    values: dict[str, Values]
    resampled: dict[str, Values]
    families: dict[str, tuple[str, ...]]
    floor: float
    design_effect: float | None
    normal: NormalTraffic | None = None

    @property
    def p_value(self) -> float:
        """The p-value of all tests together."""
        return combination.combined(self.table(tuple(self.values)))

    def p_value_with(self, repeats: Repeats, level: float) -> float:
        """Return the p-value of the tests, or of the repeats if these alone are unusual at `level`."""
        if self.p_value <= level or not repeats.unusual(level):
            return self.p_value
        return max(repeats.p_value, self.floor)

    @property
    def evidence(self) -> float:
        """Minus the logarithm of the p-value in nats, extrapolated if the p-value is at its floor."""
        p_value = self.p_value
        if p_value > self.floor:
            return float(-np.log(p_value))
        return max(float(-np.log(self.floor)), combination.evidence(self.table(tuple(self.values))))

    def table(self, names: tuple[str, ...]) -> FloatArray:
        """Return the statistics (names, columns)."""
        return np.stack([self.values[name].statistic for name in names])


def families_of(statistics: tuple[Statistic, ...]) -> dict[str, tuple[str, ...]]:
    """Return the names of the statistics in each family; those of properties also form a family of their own."""
    families = {
        family: tuple(
            statistic.name
            for statistic in statistics
            if statistic.family == family or (family == "properties" and statistic.view == "property")
        )
        for family in FAMILIES
    }
    return {family: names for family, names in families.items() if names}
