"""The window test: has this window of traffic drifted from the reference, and how?"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import blocks, combination, proportions, witness
from .kind import name_kind
from .label_shift import Calibration, black_box, maximum_likelihood
from .performance import ConfidenceEstimate, at_proportions
from .permutations import Draws
from .reference import Reference, Sample
from .report import LabelShift, Performance, PropertyShift, Result, WindowReport
from .residual import Residual, ResidualTest
from .summary import summarise
from .test_statistics import GROUPS, Battery, CalmNull, Outcome
from .views import View, Views

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

MAX_REFERENCE_ROWS = 5000  # that take part; with more, a window's own sampling error decides
MIN_WINDOW = 20
SIZES_KEPT = 3  # batteries kept for windows of other sizes than `window_size`
MIN_DRAWS, MAX_DRAWS = 499, 9999
DRAWS_PER_LEVEL = 5  # false alarms among the draws at the level asked
LARGEST_WEIGHT = 100.0


class WindowTest:
    """Tests windows of predictions against a reference.

    Parameters
    ----------
    reference : what training data looks like. Of more than 5,000 rows, 5,000 take part, drawn by `seed`.
    window_size : the usual size of a window; all that can be computed once is computed for it here. Windows of other
        sizes are tested too, the first of each size more slowly.
    seed : of the permutations and redraws; the same window always gets the same report.
    level : at or below which a p-value counts as drift; B, the number of permutations, is at least 5 / level.
    calm : traffic in its own order that is declared calm (embeddings, probabilities and, where the reference has
        them, properties). The null distribution is then a stationary block bootstrap of it.

    Raises
    ------
    ValueError
        Arrays that do not fit the reference; a window_size under 20; a level outside 0..1; calm traffic shorter
        than ten windows.

    Notes
    -----
    p = (1 + #{b: T_b >= T_0}) / (1 + B) (Phipson and Smyth 2010). Beside the reference's own arrays the memory is
    at most 4 (n + m) (B + 1) bytes for the draws of each window size kept, 4 * 64 * (B + 1) * dimensions for KS, and
    4 * max(512, m) * n * 2 while a kernel is computed.

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
        self._level = level
        self._seed = seed
        self._draws = int(np.clip(np.ceil(DRAWS_PER_LEVEL / level) - 1, MIN_DRAWS, MAX_DRAWS))
        self._reference = reference
        self._rows = np.arange(len(reference))
        if len(reference) > MAX_REFERENCE_ROWS:
            rng = np.random.default_rng(seed)
            self._rows = np.sort(rng.choice(self._rows, MAX_REFERENCE_ROWS, replace=False))
        self._views = Views(reference)
        sample = reference.sample.rows(self._rows)
        self._sample = sample
        self._own = self._views(sample)
        self._predicted = sample.probabilities.argmax(axis=1)
        self._labels = self._predicted if reference.labels is None else reference.labels[self._rows]
        self._calibration = Calibration(sample.probabilities, self._labels)
        posterior = self._calibration(sample.probabilities)
        explainable: dict[View, Floats] = {view: rows for view, rows in self._own.items() if view != "L"}
        self._residual = ResidualTest(explainable, posterior, self._labels, seed)
        self._confusion = np.stack(
            [
                posterior[self._labels == label].mean(axis=0) if (self._labels == label).any() else np.eye(k)[label]
                for k in [reference.classes]
                for label in range(k)
            ]
        )
        self._performance = ConfidenceEstimate(posterior, self._predicted, self._labels)
        self._calm: Sample | None = None
        if calm is not None:
            self._calm = reference.check(**calm)
            if len(self._calm) < 10 * window_size:
                raise ValueError(f"calm traffic must span ten windows, {10 * window_size}, got {len(self._calm)} rows")
            self._calm_views = self._views(self._calm)
            series = np.hstack([self._calm_views["P"], self._calm_views["L"]]).astype(np.float64)
            self._block = blocks.block_length(series)
        self._of_size = lru_cache(SIZES_KEPT)(self._prepare)
        self._of_size(window_size)

    def __call__(
        self, embeddings: ArrayLike, probabilities: ArrayLike, properties: ArrayLike | None = None
    ) -> WindowReport:
        """Test a window: embeddings (m, d), probabilities (m, k) and properties (m, p) in the same order.

        Exact duplicates are tested once and counted. With fewer than 20 different rows the report's state is
        "warming_up".

        Raises
        ------
        ValueError
            Empty, not finite, shapes that do not match each other or the reference, probabilities that are none.
        """
        window = self._reference.check(embeddings, probabilities, properties)
        distinct = _distinct(window)
        if len(distinct) < MIN_WINDOW:
            return _warming_up(len(window), len(window) - len(distinct))
        tested = window.rows(distinct)
        views = self._views(tested)
        predicted = tested.probabilities.argmax(axis=1)
        outcome, null = self._test(views, predicted)
        groups = {name: [test for test in tests if test in outcome.statistics] for name, tests in GROUPS.items()}
        p_value = combination.combined(np.stack(list(outcome.statistics.values())))
        drifted = p_value <= self._level
        posterior = self._calibration(tested.probabilities)
        residual = self._residual({view: views[view] for view in views if view != "L"}, posterior)
        estimate = self._performance(
            at_proportions(posterior, self._residual.prior, residual.proportions), predicted, True
        )
        moments = black_box(posterior.mean(axis=0), self._confusion)
        errors = 2 - self._performance.accuracy - estimate.estimated_accuracy
        kind = name_kind(drifted, residual, self._residual.prior, moments, errors)
        effects = self._effects(outcome, views, predicted)
        tests = {
            name: Result(
                statistic=float(outcome.statistics[members[0]][0]),
                p_value=combination.combined(np.stack([outcome.statistics[member] for member in members])),
                effect=effects[name],
            )
            for name, members in groups.items()
            if members
        }
        tests["residual"] = Result(residual.statistic, residual.p_value, residual.effect)
        shift = self._label_shift(window, residual)
        performance = self._estimated(window, residual, kind)
        moved = self._properties(outcome, tested)
        return WindowReport(
            state="tested",
            size=len(window),
            duplicates=len(window) - len(tested),
            p_value=p_value,
            drifted=drifted,
            kind=kind,
            tests=tests,
            label_shift=shift,
            performance=performance,
            properties=moved,
            witnesses=witness.rank_witnesses(outcome.discrepancy, distinct, self._rows),
            classes_moved=witness.classes_moved(
                self._reference.class_names, (self._own["E"], self._predicted), (views["E"], predicted)
            ),
            design_effect=self._design_effect(null),
            summary=summarise(kind, p_value, moved, shift, performance),
        )

    def p_value(self, embeddings: ArrayLike, probabilities: ArrayLike, properties: ArrayLike | None = None) -> float:
        """Return a window's p-value alone, without the report: 1 where the window is too small to be tested.

        Raises
        ------
        ValueError
            As a call.
        """
        window = self._reference.check(embeddings, probabilities, properties)
        tested = window.rows(_distinct(window))
        if len(tested) < MIN_WINDOW:
            return 1.0
        outcome, _ = self._test(self._views(tested), tested.probabilities.argmax(axis=1))
        return combination.combined(np.stack(list(outcome.statistics.values())))

    def _test(self, views: Mapping[View, Floats], predicted: NDArray[np.int64]) -> tuple[Outcome, CalmNull | None]:
        battery, null = self._of_size(len(predicted))
        outcome = battery(views, predicted)
        return (outcome, None) if null is None else (_under(null, outcome), null)

    def _prepare(self, m: int) -> tuple[Battery, CalmNull | None]:
        rng = np.random.default_rng([self._seed, m])
        n = len(self._predicted)
        if self._calm is None:
            return Battery(self._own, self._predicted, Draws.permutations(n, m, self._draws, rng)), None
        battery = Battery(self._own, self._predicted, Draws.permutations(n, m, 0, rng))
        rows = blocks.stationary_bootstrap(len(self._calm), m, self._block, self._draws, rng)
        predicted = self._calm.probabilities.argmax(axis=1)
        return battery, CalmNull(self._own, self._calm_views, predicted, rows, n)

    def _label_shift(self, window: Sample, residual: Residual) -> LabelShift | None:
        if self._reference.labels is None:
            return None
        prior = self._residual.prior
        posterior = self._calibration(window.probabilities)
        q = maximum_likelihood(posterior, prior)
        weights = np.divide(q, prior, out=np.zeros_like(q), where=prior > 0).clip(max=LARGEST_WEIGHT)
        offset = q - residual.proportions
        half_row = 0.5 / len(window)  # a share that a window cannot tell from none
        return LabelShift(
            reference=self._named(prior),
            estimated=self._named(q),
            low=self._named(np.clip(residual.low + offset - half_row, 0, q)),
            high=self._named(np.clip(residual.high + offset + half_row, q, 1)),
            weights=self._named(weights),
            moment_estimate=self._named(black_box(posterior.mean(axis=0), self._confusion)),
        )

    def _estimated(self, window: Sample, residual: Residual, kind: str) -> Performance | None:
        if self._reference.labels is None:
            return None
        posterior = self._calibration(window.probabilities)
        if kind in ("label", "both"):
            posterior = at_proportions(posterior, self._residual.prior, residual.proportions)
        return self._performance(posterior, window.probabilities.argmax(axis=1), kind in ("none", "label"))

    def _properties(self, outcome: Outcome, tested: Sample) -> tuple[PropertyShift, ...]:
        before = self._sample.properties
        if outcome.properties is None or before is None or tested.properties is None:
            return ()
        deviation = np.maximum(before.std(axis=0, dtype=np.float64), 1e-12)
        means = before.mean(axis=0, dtype=np.float64), tested.properties.mean(axis=0, dtype=np.float64)
        shifts = [
            PropertyShift(
                name=name,
                p_value=combination.combined(outcome.properties[:, column]),
                effect=float((means[1][column] - means[0][column]) / deviation[column]),
                reference_mean=float(means[0][column]),
                window_mean=float(means[1][column]),
            )
            for column, name in enumerate(self._reference.property_names)
        ]
        return tuple(sorted(shifts, key=lambda shift: (-(shift.p_value <= self._level), -abs(shift.effect))))

    def _effects(
        self, outcome: Outcome, views: Mapping[View, Floats], predicted: NDArray[np.int64]
    ) -> dict[str, float]:
        k, n, m = self._reference.classes, len(self._predicted), len(predicted)
        shares = np.bincount(self._predicted, minlength=k) / n, np.bincount(predicted, minlength=k) / m
        square = max(0.0, float(outcome.statistics["mean E"][0] - np.median(outcome.statistics["mean E"])))
        effects = {
            "mmd": outcome.discrepancy.effect,
            "mean": square / (1 + square),
            "ks": max(float(outcome.statistics[name][0]) for name in GROUPS["ks"]),
            "proportions": proportions.total_variation(*shares),
        }
        if outcome.properties is not None:
            effects["properties"] = float(outcome.properties[1, :, 0].max())
        return effects

    def _design_effect(self, null: CalmNull | None) -> float | None:
        if null is None:
            return None
        rows = np.hstack([self._calm_views["P"], self._calm_views["L"]])
        return blocks.design_effect(null.means, rows, null.size)

    def _named(self, values: Matrix) -> dict[str, float]:
        return dict(zip(self._reference.class_names, values.tolist(), strict=True))


def _under(null: CalmNull, outcome: Outcome) -> Outcome:
    """Put the calm traffic's draws behind what was observed."""
    statistics = {
        name: np.concatenate([values[:1], null.statistics[name]]) for name, values in outcome.statistics.items()
    }
    properties = outcome.properties
    if properties is not None and null.properties is not None:
        properties = np.concatenate([properties[:, :, :1], null.properties], axis=2)
    return Outcome(statistics, properties, outcome.discrepancy)


def _distinct(window: Sample) -> NDArray[np.int64]:
    """Return the first row of each group of rows with the same embedding and probabilities, in order."""
    both = np.ascontiguousarray(np.hstack([window.embeddings, window.probabilities]))
    keys = both.view(np.dtype((np.void, both.dtype.itemsize * both.shape[1]))).ravel()
    _, first = np.unique(keys, return_index=True)
    return np.sort(first)


def _warming_up(size: int, duplicates: int) -> WindowReport:
    return WindowReport(
        state="warming_up",
        size=size,
        duplicates=duplicates,
        p_value=1.0,
        drifted=False,
        kind="none",
        tests={},
        label_shift=None,
        performance=None,
        properties=(),
        witnesses=(),
        classes_moved=(),
        design_effect=None,
        summary=f"Warming up: {size - duplicates} different predictions are too few, {MIN_WINDOW} are needed",
    )
