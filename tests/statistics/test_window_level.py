"""The level of the window test where dimensions, classes or their tails are large, against exact binomial bounds.

Each test draws a reference of its own for every window, so that the reference's error is part of the claim. Features
that are fitted to the reference alone fail these tests: they reject up to every window.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import special, stats

from tests.support.rates import assert_level
from tests.support.worlds import Arrays, World, rows
from tidemark.drift import Reference, WindowTest
from tidemark.drift.label_shift import estimate_proportions

See = Callable[[int, np.random.Generator], tuple[Arrays, np.ndarray]]


def softmax(logits: np.ndarray) -> np.ndarray:
    return special.softmax(logits, axis=1).astype(np.float32)


def isotropic(n: int, rng: np.random.Generator) -> tuple[Arrays, np.ndarray]:
    """More dimensions than rows, all alike, and a model that is overconfident."""
    labels = rng.integers(0, 4, n)
    logits = 8 * (np.eye(4)[labels] + 0.5 * rng.normal(size=(n, 4)))
    return {"embeddings": rng.normal(size=(n, 200)).astype(np.float32), "probabilities": softmax(logits)}, labels


def wide(n: int, rng: np.random.Generator) -> tuple[Arrays, np.ndarray]:
    """Embeddings that are projected on components."""
    labels = rng.integers(0, 4, n)
    embeddings = np.maximum(rng.normal(size=(n, 700)) + np.eye(700)[labels] * 3, 0)
    logits = 3 * np.eye(4)[labels] + rng.normal(size=(n, 4))
    return {"embeddings": embeddings.astype(np.float32), "probabilities": softmax(logits)}, labels


def long_tail(n: int, rng: np.random.Generator) -> tuple[Arrays, np.ndarray]:
    """60 classes of which the j-th has a share in proportion to 1/j."""
    world, share = World(k=60, d=8), 1 / np.arange(1, 61)
    labels = rng.choice(60, n, p=share / share.sum())
    return world.see(labels, rng), labels


def many_classes(n: int, rng: np.random.Generator) -> tuple[Arrays, np.ndarray]:
    """More classes than are compared one by one, with two rows of each."""
    labels = rng.integers(0, 140, n)
    logits = rng.normal(size=(n, 140)) + 4 * np.eye(140)[labels]
    embeddings = rng.normal(size=(n, 8)) + np.random.default_rng(7).normal(size=(140, 8))[labels]
    return {"embeddings": embeddings.astype(np.float32), "probabilities": softmax(logits)}, labels


@pytest.mark.parametrize(
    ("see", "n", "m", "windows"),
    [(isotropic, 120, 60, 50), (wide, 200, 60, 60), (long_tail, 200, 100, 100), (many_classes, 280, 100, 60)],
)
def test_level_holds(see: See, n: int, m: int, windows: int) -> None:
    rng = np.random.default_rng(1)
    p = []
    for seed in range(windows):
        arrays, labels = see(n, rng)
        test = WindowTest(Reference(**arrays, labels=labels), window_size=m, seed=seed)
        p.append(test.p_value(**see(m, rng)[0]))
    assert_level(p, exact=True)


@pytest.mark.parametrize("size", [1, 20])
def test_level_holds_with_calm_traffic_and_a_reference_as_small_as_the_window(size: int) -> None:
    """Independent predictions, and bursts of 20 of one class, whose null distribution is approximate."""
    world, rng, p = World(), np.random.default_rng(2), []
    for seed in range(10):
        calm = world.bursts(3000, rng, size)
        test = WindowTest(world.reference(150, rng), window_size=150, seed=seed, calm=calm)
        p += [test.p_value(**world.bursts(150, rng, size)) for _ in range(6)]
    assert_level(p)
    assert np.mean(p) > 0.3


@pytest.mark.parametrize("accepted", [False, True], ids=["declared calm", "accepted as the baseline"])
def test_level_holds_with_dependent_traffic(accepted: bool) -> None:
    """Bursts of 20 of one class, 12 references or baselines with 20 windows each; as independent rows most windows of
    accepted bursts would be rejected."""
    world, rng, p = World(), np.random.default_rng(2), []
    for seed in range(12):
        reference, bursts = world.reference(600, rng), world.bursts(3000, rng)
        if accepted:
            test = WindowTest(reference.accept(**bursts, what="all"), window_size=150, seed=seed)
        else:
            test = WindowTest(reference, window_size=150, seed=seed, calm=bursts)
        p += [test.p_value(**world.bursts(150, rng)) for _ in range(20)]
    assert_level(p)
    assert np.mean(p) > 0.4
    shifted = world.bursts(150, rng)
    assert test(**shifted | {"embeddings": shifted["embeddings"] + 2}).drifted


def test_residual_test_keeps_its_level_with_as_many_dimensions_as_rows() -> None:
    """The whitening is fitted on other rows than the null distribution: 60 calm windows at .05."""
    rng, p = np.random.default_rng(3), []
    for seed in range(20):
        arrays, labels = isotropic(200, rng)
        test = WindowTest(Reference(**arrays, labels=labels), window_size=100, seed=seed)
        for _ in range(3):
            window, fitted = test._validate(**isotropic(100, rng)[0], properties=None), test._fitted
            q = estimate_proportions(fitted.calibration(window.sample.probabilities), fitted.prior)
            p.append(fitted.residual_test(window.views, q).p_value)
    assert_level(p)


def test_residual_test_keeps_its_level_with_three_rows_a_class() -> None:
    """100 classes in 64 dimensions: most of the error of the class means is that of classes with one or two rows."""
    rng, p = np.random.default_rng(11), []
    centres = np.random.default_rng(7).normal(size=(100, 64))

    def see() -> tuple[Arrays, np.ndarray]:
        labels = rng.integers(0, 100, 300)
        logits = 4 * np.eye(100)[labels] + rng.normal(size=(300, 100))
        embeddings = (centres[labels] + rng.normal(size=(300, 64))).astype(np.float32)
        return {"embeddings": embeddings, "probabilities": softmax(logits)}, labels

    for seed in range(8):
        arrays, labels = see()
        test = WindowTest(Reference(**arrays, labels=labels), window_size=300, seed=seed)
        for _ in range(4):
            window, fitted = test._validate(**see()[0], properties=None), test._fitted
            q = estimate_proportions(fitted.calibration(window.sample.probabilities), fitted.prior)
            p.append(fitted.residual_test(window.views, q).p_value)
    assert_level(p)
    assert np.mean(p) < 0.8


def test_label_shift_is_named_with_as_many_dimensions_as_rows() -> None:
    rng, kinds = np.random.default_rng(4), []
    scale = np.arange(1, 201) ** -0.5

    def see(n: int, prior: list[float] | None) -> tuple[Arrays, np.ndarray]:
        labels = rng.choice(4, n, p=prior)
        embeddings = np.maximum(rng.normal(size=(n, 200)) * scale + np.eye(200)[labels] * 2, 0)
        logits = 4 * np.eye(4)[labels] + rng.normal(size=(n, 4))
        return {"embeddings": embeddings.astype(np.float32), "probabilities": softmax(logits)}, labels

    for seed in range(3):
        arrays, labels = see(200, None)
        test = WindowTest(Reference(**arrays, labels=labels), window_size=200, seed=seed)
        kinds += [test(**see(200, [0.1, 0.1, 0.1, 0.7])[0]).kind for _ in range(6)]
    assert kinds.count("label") >= 16, kinds


def test_a_change_of_one_group_among_many_classes_is_detected() -> None:
    """140 classes in groups of 7; one group becomes five times as frequent."""
    rng = np.random.default_rng(5)
    group = np.arange(140) // 7

    def see(n: int, factor: float) -> tuple[Arrays, np.ndarray]:
        share = np.where(group == 3, factor, 1.0)
        labels = rng.choice(140, n, p=share / share.sum())
        logits = rng.normal(size=(n, 140)) + 4 * np.eye(140)[labels] + 3 * (group[labels][:, None] == group)
        embeddings = rng.normal(size=(n, 8)) + np.random.default_rng(7).normal(size=(20, 8))[group[labels]]
        return {"embeddings": embeddings.astype(np.float32), "probabilities": softmax(logits)}, labels

    arrays, labels = see(600, 1.0)
    test = WindowTest(Reference(**arrays, labels=labels), window_size=200)
    assert sum(test.p_value(**see(200, 5.0)[0]) <= 0.01 for _ in range(6)) >= 5


def test_kind_is_unknown_without_labels() -> None:
    world, rng = World(), np.random.default_rng(6)
    reference = Reference(**world.traffic(400, rng))
    report = WindowTest(reference, window_size=100)(**world.traffic(100, rng, move=1.0))
    assert (report.kind, report.label_shift, report.performance) == ("unknown", None, None)


def test_effects_of_calm_windows_are_near_zero_with_many_classes() -> None:
    """The total variation of 140 classes in windows of 100 is .4 by sampling alone."""
    rng = np.random.default_rng(7)
    arrays, labels = many_classes(280, rng)
    test = WindowTest(Reference(**arrays, labels=labels), window_size=100)
    effects = [test(**many_classes(100, rng)[0]).tests["proportions"].effect for _ in range(5)]
    assert np.median(effects) < 0.06


def test_a_window_of_sizes_that_never_varied_is_calm_and_says_so() -> None:
    world, rng = World(), np.random.default_rng(8)
    arrays = world.traffic(500, rng)
    arrays["properties"] = np.hstack([arrays["properties"], np.full((500, 1), 64.0)])
    names = ("brightness", "contrast", "sharpness", "width")
    test = WindowTest(Reference(**arrays, property_names=names), window_size=100)
    window = world.traffic(100, rng)
    window["properties"] = np.hstack([window["properties"], np.full((100, 1), 65.0)])
    report = test(**window)
    assert not report.drifted
    assert report.properties[-1].name == "width"
    assert report.properties[-1].constant
    assert abs(report.properties[-1].effect) <= 10
    assert "width 64 → 65, which never varied" in report.summary


def test_sizes_are_compared_by_their_ratios() -> None:
    world, rng = World(), np.random.default_rng(9)

    def with_width(n: int, factor: float) -> Arrays:
        arrays = world.traffic(n, rng)
        width = factor * np.exp(rng.normal(6, 1, size=(n, 1)))
        return arrays | {"properties": np.hstack([arrays["properties"], width])}

    names = ("brightness", "contrast", "sharpness", "width")
    test = WindowTest(Reference(**with_width(1000, 1.0), property_names=names), window_size=300)
    shift = next(item for item in test(**with_width(300, np.e)).properties if item.name == "width")
    assert shift.effect == pytest.approx(1.0, abs=0.25)  # one deviation of the logarithm
    assert shift.effect_low < 1.0 < shift.effect_high


def test_intervals_of_effects_cover() -> None:
    """The standardised difference of a moved property: at most as many windows missed as at 95 per cent each."""
    world, rng = World(), np.random.default_rng(10)
    arrays = world.traffic(20_000, rng)
    truth = 0.5 / arrays["properties"][:, 0].std()
    reference = Reference(**rows(arrays, np.arange(1000)), property_names=("brightness", "contrast", "sharpness"))
    test, covered = WindowTest(reference, window_size=60), 0
    for _ in range(40):
        window = world.traffic(60, rng)
        window["properties"][:, 0] += 0.5
        shift = next(item for item in test(**window).properties if item.name == "brightness")
        covered += shift.effect_low <= truth <= shift.effect_high
    assert covered >= stats.binom.ppf(0.001, 40, 0.95)
