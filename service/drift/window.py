"""The window test: has this window of traffic drifted from the reference, and how?"""

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from .calm_null import CalmNull, null_of_baseline, smallest_calm
from .context import check_context
from .context_null import CalmTraffic, ContextNull
from .diagnosis import diagnose
from .fitted_reference import FittedReference
from .fitted_statistics import FittedStatistics
from .permutations import Contrasts
from .reference import Reference
from .report import WindowReport
from .tested_window import NormalTraffic, Outcome, TestedWindow, families_of
from .types import FloatArray
from .window_repeats import RepeatTest, first_rows, repeat_keys
from .window_report import build_report, build_untested_report

MIN_WINDOW = 20  # different predictions that a window needs
MAX_WINDOW_ROWS = 5000  # different predictions of a window that are tested; of more, so many are drawn
MIN_DRAWS, MAX_DRAWS = 499, 9999  # permutations of a test
DRAWS_PER_LEVEL = 5  # permutations expected at or below the level
BOOTSTRAP_DRAWS = 60  # resamples from which the intervals of the effects come


class WindowTest:
    """Tests windows of predictions against a reference.

    Parameters
    ----------
    reference : Reference
        Of more than 5,000 rows, 5,000 take part, drawn by `seed`.
    window_size : int, default 500
        The usual size of a window; windows of other sizes cost the same.
    seed : int, default 0
        Seed of permutations and redraws. Each window has permutations of its own, which depend on `seed` and on its
        rows: the same window always gets the same report.
    level : float, default 0.01
        Level at or below which a p-value counts as drift. The number of permutations B is at least 5 / level.
    calm : Mapping[str, ArrayLike] or None
        Traffic in its own order that is declared calm: embeddings, probabilities and, if the reference has them,
        properties. The null distribution is then a stationary block bootstrap of it. With its `context` (n, c), each
        window is compared with calm traffic of the same context instead of the reference. Other keys are ignored. A
        baseline that is accepted traffic, and dependent, is bootstrapped in the same way.

    Raises
    ------
    ValueError
        Arrays that do not fit the reference; a window_size under 20; a level outside 0..1; calm traffic shorter
        than ten windows, or with a context than one.

    Notes
    -----
    p = (1 + #{b: T_b >= T_0}) / (1 + B). All features, scales, axes and grids are symmetric functions of the pooled
    rows, so that the permutation test is exact for any number of rows, dimensions and classes. Embeddings wider than
    512 are projected on at most 256 components fitted on rows that take no part. With `calm` the null distribution is
    approximate.

    At most 5,000 rows of a window take part. The memory that a test takes is at most
    4 (n + m) (2 B + 4 w + 32 max(8, min(k, 32), p)) bytes, with n + m <= 10,000 rows, w the width of embeddings or
    classes, and p properties. No matrix of rows by rows is held.

    References
    ----------
    Phipson and Smyth (2010), Permutation p-values should never be zero.
    Liu and Xie (2020), Cauchy combination test.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 1000)
    >>> def world(labels, move):
    ...     return labels[:, None] * 3 + rng.normal(size=(len(labels), 4)) + move, np.eye(2)[labels] * 0.98 + 0.01
    >>> reference = Reference(*world(labels, 0), labels=labels)
    >>> test = WindowTest(reference, window_size=100)
    >>> test(*world(labels[:100], 0)).drifted, test(*world(labels[:100], 1)).kind
    (False, 'covariate')
    """

    def __init__(
        self,
        reference: Reference,
        window_size: int = 500,
        seed: int = 0,
        level: float = 0.01,
        calm: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        if window_size < MIN_WINDOW:
            raise ValueError(f"window_size must be at least {MIN_WINDOW}, got {window_size}")
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}")
        self._reference = reference
        self._level = level
        self._seed = seed
        self._draws = int(np.clip(np.ceil(DRAWS_PER_LEVEL / level) - 1, MIN_DRAWS, MAX_DRAWS))
        self._fitted = FittedReference(reference, seed)
        self._null: CalmNull | None = None
        self._in_context: CalmTraffic | None = None
        calm_sample = None
        if calm is not None:
            calm_sample = reference.check(calm["embeddings"], calm["probabilities"], calm.get("properties"))
            needed = smallest_calm(window_size, "context" in calm)
            if len(calm_sample) < needed:
                raise ValueError(f"calm traffic must have {needed} rows for such windows, got {len(calm_sample)}")
            views = self._fitted.build_views(calm_sample)
            if "context" in calm:
                covariates = check_context(calm["context"], len(calm_sample))
                self._in_context = CalmTraffic(calm_sample, ContextNull(views, covariates, self._draws, seed))
            else:
                self._null = CalmNull(views, len(self._fitted.views), self._draws, seed)
        elif reference.is_traffic and len(reference) >= 10 * window_size:
            traffic = self._fitted.build_views(reference.sample)
            self._null = null_of_baseline(traffic, len(self._fitted.views), window_size, self._draws, seed)
        self._repeat_test = RepeatTest(reference.keys, None if calm_sample is None else repeat_keys(calm_sample))

    def __call__(
        self,
        embeddings: ArrayLike,
        probabilities: ArrayLike,
        properties: ArrayLike | None = None,
        context: ArrayLike | None = None,
    ) -> WindowReport:
        """Test a window and return its report.

        Exact repeats are tested once, and their share is compared with the reference's. With fewer than 20
        predictions the state of the report is "warming_up"; with fewer than 20 different ones it is "not_tested".

        Parameters
        ----------
        embeddings : float (m, d)
        probabilities : float (m, k)
            Rows in the order of the embeddings.
        properties : float (m, p), optional
        context : float (m, c), default None
            The covariates of the predictions, if calm traffic was declared with a context; they are ignored otherwise.

        Raises
        ------
        ValueError
            Empty, not finite, shapes that do not match each other or the reference, rows that are not probability
            distributions; a context that is missing or does not fit.
        """
        window = self._validate(embeddings, probabilities, properties, context)
        if len(window.rows) < MIN_WINDOW:
            return build_untested_report(window, self._floor, self._level, MIN_WINDOW)
        outcome = self._test(window, BOOTSTRAP_DRAWS)
        repeats_unusual = window.repeats.unusual(self._level)
        diagnosis = diagnose(self._fitted, window, outcome, outcome.p_value <= self._level, repeats_unusual)
        return build_report(
            self._fitted, window, outcome, diagnosis, outcome.p_value_with(window.repeats, self._level), self._level
        )

    def p_value(
        self,
        embeddings: ArrayLike,
        probabilities: ArrayLike,
        properties: ArrayLike | None = None,
        context: ArrayLike | None = None,
    ) -> float:
        """Return the p-value of a window's report without the rest of it.

        Raises
        ------
        ValueError
            As a call.
        """
        window = self._validate(embeddings, probabilities, properties, context)
        if len(window.rows) < MIN_WINDOW:
            return build_untested_report(window, self._floor, self._level, MIN_WINDOW).p_value
        return self._test(window, 0).p_value_with(window.repeats, self._level)

    @property
    def _floor(self) -> float:
        """The smallest p-value that the permutations allow."""
        return 1 / (1 + self._draws)

    def _validate(
        self,
        embeddings: ArrayLike,
        probabilities: ArrayLike,
        properties: ArrayLike | None = None,
        context: ArrayLike | None = None,
    ) -> TestedWindow:
        sample = self._reference.check(embeddings, probabilities, properties)
        covariates = None
        if self._in_context is not None:
            if context is None:
                raise ValueError("calm traffic was declared with a context, these predictions have none")
            covariates = check_context(context, len(sample), self._in_context.null.columns)
        keys = repeat_keys(sample)
        rows = first_rows(keys)
        seed = self._seed, zlib.crc32(sample.embeddings[rows[:MAX_WINDOW_ROWS]].tobytes())
        if len(rows) > MAX_WINDOW_ROWS:
            rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_WINDOW_ROWS, replace=False))
        tested = sample.rows(rows)
        return TestedWindow(
            size=len(sample),
            rows=rows,
            sample=tested,
            views=self._fitted.build_views(tested),
            repeats=self._repeat_test(keys),
            seed=seed,
            context=None if covariates is None else covariates[rows],
        )

    def _test(self, window: TestedWindow, bootstrap_draws: int) -> Outcome:
        """Return the outcome of all tests, with intervals of the effects if there are bootstrap draws."""
        if self._in_context is not None and window.context is not None:
            return self._test_in_context(self._in_context, window, window.context, bootstrap_draws)
        pooled = self._fitted.views.joined(window.views)
        m = len(window.rows)
        n = len(pooled) - m
        resamples = [Contrasts.bootstrap(n, m, bootstrap_draws, window.rng(use=1))] if bootstrap_draws else []
        if self._null is not None:
            statistics = self._null.statistics
            values, *resampled = self._null.evaluate(pooled, m, resamples)
            design_effect: float | None = self._null.design_effect(m)
        else:
            statistics = FittedStatistics(pooled, self._seed)
            permutations = Contrasts.permutations(n, m, self._draws, window.rng(use=0))
            values, *resampled = statistics.evaluate(pooled, [permutations, *resamples])
            design_effect = None
        return Outcome(
            values=values,
            resampled=resampled[0] if resampled else {},
            families=families_of(statistics.statistics),
            floor=self._floor,
            design_effect=design_effect,
        )

    def _test_in_context(
        self, calm_traffic: CalmTraffic, window: TestedWindow, context: FloatArray, bootstrap_draws: int
    ) -> Outcome:
        calm, null = calm_traffic
        outcome = null.evaluate(window.views, context, window.rng(use=0), bootstrap_draws)
        normal = outcome.normal
        return Outcome(
            values=outcome.values,
            resampled=outcome.resampled,
            families=families_of(outcome.statistics),
            floor=self._floor,
            design_effect=outcome.design_effect,
            normal=NormalTraffic(calm.rows(normal.rows), self._fitted.build_views(calm.rows(normal.rows)), normal.size),
        )
