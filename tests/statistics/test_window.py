"""The window test: its level under the null hypothesis, its power, and the kind of shift that it names."""

import numpy as np
import pytest
from scipy import stats

from tests.support.rates import assert_level
from tests.support.worlds import Change, World
from tidemark.drift import Reference, WindowTest, power_table
from tidemark.drift.report import Kind

WORLD = World()


def test_false_alarms_and_uniform_p_values_under_the_null() -> None:
    """100 windows, a new reference every 10, so that the reference's own error is part of the claim."""
    rng = np.random.default_rng(1)
    p = []
    for index in range(100):
        if index % 10 == 0:
            window_test = WindowTest(WORLD.reference(300, rng), window_size=60, seed=index)
        p.append(window_test.p_value(**WORLD.traffic(60, rng)))
    assert_level(p, exact=True)
    assert stats.kstest(p, "uniform").pvalue > 0.001


@pytest.mark.slow
def test_false_alarms_at_one_percent() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for index in range(1000):
        if index % 20 == 0:
            window_test = WindowTest(WORLD.reference(500, rng), window_size=60, seed=index)
        hits += window_test.p_value(**WORLD.traffic(60, rng)) <= 0.01
    low, high = np.asarray(stats.binom.ppf([0.005, 0.995], 1000, 0.01))
    assert low <= hits <= high


def tripled() -> list[float]:
    prior = np.full(5, 1.0)
    prior[3] = 3
    return list(prior / prior.sum())


def missing() -> list[float]:
    return [0, 0.25, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("windows", [10, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("none", {}),
        ("covariate", {"move": 0.35}),
        ("covariate", {"noise": 0.8}),
        ("label", {"prior": tripled()}),
        ("label", {"prior": missing()}),
    ],
)
def test_names_the_kind(window_test: WindowTest, kind: Kind, change: Change, windows: int) -> None:
    """As many windows as nine of ten windows give in 95 of 100 runs: 8 of 10, 50 of 60."""
    rng = np.random.default_rng(3)
    kinds = [window_test(**WORLD.traffic(200, rng, **change)).kind for _ in range(windows)]
    assert kinds.count(kind) >= stats.binom.ppf(0.05, windows, 0.9), kinds


def test_both_shifts_at_once_are_never_named_none_or_label(window_test: WindowTest) -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        assert window_test(**WORLD.traffic(200, rng, prior=tripled(), move=0.35)).kind in ("covariate", "both")


def test_class_proportions_and_their_intervals(window_test: WindowTest) -> None:
    rng = np.random.default_rng(5)
    errors: list[float] = []
    covered: list[bool] = []
    for prior in (tripled(), missing(), None) * 7:
        labels = WORLD.labels(200, rng, prior)
        truth = np.bincount(labels, minlength=5) / 200
        shift = window_test(**WORLD.see(labels, rng)).label_shift
        estimated, low, high = (np.array(list(part.values())) for part in (shift.estimated, shift.low, shift.high))
        errors.append(np.abs(estimated - truth).sum() / 2)
        covered.extend((low - 1e-9 <= truth) & (truth <= high + 1e-9))
        ratios = estimated / np.array(list(shift.reference.values()))
        weights = np.array(list(shift.weights.values()))
        assert weights[low > 0] == pytest.approx(ratios[low > 0])
        assert (weights[low == 0] >= ratios[low == 0]).all()
    assert np.mean(errors) < 0.03
    assert np.mean(covered) >= 0.93


def test_estimated_accuracy_covers_the_truth_under_label_shift(window_test: WindowTest) -> None:
    rng = np.random.default_rng(6)
    covered = valid = 0
    for _ in range(20):
        labels = WORLD.labels(200, rng, tripled())
        arrays = WORLD.see(labels, rng)
        performance = window_test(**arrays).performance
        valid += performance.assumption_holds
        accuracy = (arrays["probabilities"].argmax(axis=1) == labels).mean()
        covered += performance.low - 1e-9 <= accuracy <= performance.high + 1e-9
    assert covered >= 15
    assert valid >= 18


def test_the_accuracy_is_unknown_under_changed_images_without_rehearsals(window_test: WindowTest) -> None:
    rng = np.random.default_rng(7)
    for noise in (0.8, 1.5, 3.0):
        labels = WORLD.labels(200, rng)
        arrays = WORLD.see(labels, rng, noise=noise)
        report = window_test(**arrays)
        performance = report.performance
        assert report.kind in ("covariate", "both")
        assert performance.method == "unknown"
        assert not performance.assumption_holds
        assert "Label 50 images" in performance.note
        truth = float((arrays["probabilities"].argmax(axis=1) == labels).mean())
        assert performance.low <= truth <= performance.high
        assert performance.low <= performance.estimated_accuracy <= performance.high


def test_effects_do_not_grow_with_the_window(reference: Reference) -> None:
    rng = np.random.default_rng(10)
    effects = []
    for size in (100, 800):
        report = WindowTest(reference, window_size=size)(**WORLD.traffic(size, rng, move=0.5))
        effects.append({name: result.effect for name, result in report.tests.items()})
    for name in effects[0]:
        assert 0 <= effects[1][name] <= 1
        assert effects[1][name] < effects[0][name] * 1.5 + 0.05, name


def test_every_window_has_permutations_of_its_own(reference: Reference) -> None:
    window_test = WindowTest(reference, window_size=100)
    rng = np.random.default_rng(30)
    windows = [window_test._validate(*WORLD.traffic(100, rng).values()) for _ in range(2)]
    assert windows[0].seed != windows[1].seed


def test_calm_traffic_in_bursts_is_not_called_drift(reference: Reference) -> None:
    """Bursts of 20 of one class: the independent null alarms on most windows, the block bootstrap at its level."""
    rng = np.random.default_rng(22)
    plain = WindowTest(reference, window_size=200)
    calibrated = WindowTest(reference, window_size=200, calm=WORLD.bursts(6000, rng))
    windows = [WORLD.bursts(200, rng) for _ in range(30)]
    alarms = [sum(item.p_value(**window) <= 0.05 for window in windows) for item in (plain, calibrated)]
    assert alarms[0] >= 15
    assert alarms[1] <= stats.binom.ppf(0.9995, 30, 0.05)
    report = calibrated(**WORLD.traffic(200, rng, move=1.0))
    assert report.drifted
    assert report.design_effect is not None
    assert report.design_effect > 5


def test_power_table_names_smaller_shifts_for_larger_windows() -> None:
    """Larger windows show smaller shifts."""
    table = power_table(WORLD.reference(1200, np.random.default_rng(24)), window_sizes=(60, 300))
    by_shift = {(row.shift, row.window_size): row.smallest for row in table}
    assert len(by_shift) == 6
    for shift in {row.shift for row in table}:
        small, large = by_shift[shift, 60], by_shift[shift, 300]
        assert large is not None
        assert small is None or large <= small
