"""The window test: its level, its power, the kind it names, and what it does with input that nobody hoped for."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.support.worlds import Arrays, World, rows
from tidemark.drift import Reference, WindowTest, power_table

WORLD = World()


@pytest.fixture(scope="module")
def reference() -> Reference:
    return WORLD.reference(1500, np.random.default_rng(0))


@pytest.fixture(scope="module")
def test(reference: Reference) -> WindowTest:
    return WindowTest(reference, window_size=200, seed=0)


def test_false_alarms_and_uniform_p_values_under_the_null() -> None:
    """160 windows, a fresh reference every 20, so that the reference's own error is part of the claim."""
    rng = np.random.default_rng(1)
    p = []
    for index in range(160):
        if index % 20 == 0:
            tested = WindowTest(WORLD.reference(500, rng), window_size=60, seed=index)
        p.append(tested.p_value(**WORLD.traffic(60, rng)))
    for level in (0.05, 0.2):
        low, high = np.asarray(stats.binom.ppf([0.005, 0.995], len(p), level))
        assert low <= np.sum(np.array(p) <= level) <= high
    assert stats.kstest(p, "uniform").pvalue > 0.001


@pytest.mark.slow
def test_false_alarms_at_one_percent() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for index in range(1000):
        if index % 20 == 0:
            tested = WindowTest(WORLD.reference(500, rng), window_size=60, seed=index)
        hits += tested.p_value(**WORLD.traffic(60, rng)) <= 0.01
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
def test_names_the_kind(test: WindowTest, kind: Any, change: Any, windows: int) -> None:
    """As many windows as nine of ten windows give in 95 of 100 runs: 8 of 10, 50 of 60."""
    rng = np.random.default_rng(3)
    named = [test(**WORLD.traffic(200, rng, **change)).kind for _ in range(windows)]
    assert named.count(kind) >= stats.binom.ppf(0.05, windows, 0.9), named


def test_both_planted_are_never_called_none_or_label(test: WindowTest) -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        assert test(**WORLD.traffic(200, rng, prior=tripled(), move=0.35)).kind in ("covariate", "both")


def test_class_proportions_and_their_intervals(test: WindowTest) -> None:
    rng = np.random.default_rng(5)
    errors: list[float] = []
    covered: list[bool] = []
    for prior in (tripled(), missing(), None) * 7:
        labels = WORLD.labels(200, rng, prior)
        truth = np.bincount(labels, minlength=5) / 200
        shift = test(**WORLD.see(labels, rng)).label_shift
        estimated, low, high = (np.array(list(part.values())) for part in (shift.estimated, shift.low, shift.high))
        errors.append(np.abs(estimated - truth).sum() / 2)
        covered.extend((low - 1e-9 <= truth) & (truth <= high + 1e-9))
        ratios = estimated / np.array(list(shift.reference.values()))
        weights = np.array(list(shift.weights.values()))
        assert weights[low > 0] == pytest.approx(ratios[low > 0])
        assert (weights[low == 0] >= ratios[low == 0]).all()
    assert np.mean(errors) < 0.03
    assert np.mean(covered) >= 0.93


def test_estimated_accuracy_covers_the_truth_under_label_shift(test: WindowTest) -> None:
    rng = np.random.default_rng(6)
    inside = held = 0
    for _ in range(20):
        labels = WORLD.labels(200, rng, tripled())
        arrays = WORLD.see(labels, rng)
        performance = test(**arrays).performance
        held += performance.assumption_holds
        accuracy = (arrays["probabilities"].argmax(axis=1) == labels).mean()
        inside += performance.low - 1e-9 <= accuracy <= performance.high + 1e-9
    assert inside >= 15
    assert held >= 18


def test_the_accuracy_is_unknown_under_changed_images_without_rehearsals(test: WindowTest) -> None:
    rng = np.random.default_rng(7)
    for noise in (0.8, 1.5, 3.0):
        labels = WORLD.labels(200, rng)
        arrays = WORLD.see(labels, rng, noise=noise)
        report = test(**arrays)
        performance = report.performance
        assert report.kind in ("covariate", "both")
        assert performance.method == "unknown"
        assert not performance.assumption_holds
        assert "Label 50 images" in performance.note
        truth = float((arrays["probabilities"].argmax(axis=1) == labels).mean())
        assert performance.low <= truth <= performance.high
        assert performance.low <= performance.estimated_accuracy <= performance.high


def test_witnesses_are_the_planted_rows(test: WindowTest) -> None:
    rng = np.random.default_rng(8)
    arrays = WORLD.traffic(200, rng)
    strange = WORLD.traffic(12, rng, move=3.0)
    for name in arrays:
        arrays[name][40:52] = strange[name]
    found = {witness.row for witness in test(**arrays).witnesses}
    assert len(found & set(range(40, 52))) >= 10


def test_explains_by_property_and_class(test: WindowTest) -> None:
    report = test(**WORLD.traffic(200, np.random.default_rng(9), move=1.0))
    assert report.properties[0].name == "brightness"
    assert report.properties[0].effect > 1
    assert "brighter" in report.summary
    report = test(**WORLD.traffic(200, np.random.default_rng(9), prior=missing()))
    assert "0" in [move.name for move in report.classes_moved]


def test_effects_do_not_grow_with_the_window(reference: Reference) -> None:
    rng = np.random.default_rng(10)
    effects = []
    for size in (100, 800):
        report = WindowTest(reference, window_size=size)(**WORLD.traffic(size, rng, move=0.5))
        effects.append({name: result.effect for name, result in report.tests.items()})
    for name in effects[0]:
        assert 0 <= effects[1][name] <= 1
        assert effects[1][name] < effects[0][name] * 1.5 + 0.05, name


def test_same_seed_same_report(reference: Reference, test: WindowTest) -> None:
    arrays = WORLD.traffic(200, np.random.default_rng(11))
    again = WindowTest(reference, window_size=200, seed=0)
    assert test(**arrays).to_dict() == again(**arrays).to_dict()


def test_report_is_json(test: WindowTest) -> None:
    document = json.loads(json.dumps(test(**WORLD.traffic(200, np.random.default_rng(12))).to_dict()))
    assert set(document["tests"]) == {"mmd", "mean", "ks", "proportions", "properties"}
    assert set(document["tests"]["mmd"]) == {"statistic", "p_value", "effect", "effect_low", "effect_high"}
    document = json.loads(json.dumps(test(**WORLD.traffic(200, np.random.default_rng(12), move=1.0)).to_dict()))
    assert "residual" in document["tests"]


def test_a_few_exact_repeats_are_tested_once_and_counted(test: WindowTest) -> None:
    arrays = WORLD.traffic(195, np.random.default_rng(13))
    report = test(**rows(arrays, np.concatenate([np.arange(195), np.zeros(5, int)])))
    assert (report.size, report.duplicates, report.tested) == (200, 5, 195)
    assert report.repeats.share == pytest.approx(5 / 200)
    assert (report.drifted, report.kind) == (False, "none")


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_window_with_one_frozen_frame_is_never_calm(test: WindowTest, share: float) -> None:
    rng = np.random.default_rng(13)
    for _ in range(5):
        arrays = WORLD.traffic(500, rng)
        report = test(**rows(arrays, np.where(rng.random(500) < share, 0, np.arange(500))))
        assert (report.drifted, report.kind) == (True, "repeats")
        assert report.p_value <= 0.01
        assert report.repeats.largest_share == pytest.approx(share, abs=0.1)
        assert "same image again and again" in report.summary
        assert "No drift" not in report.summary + report.alert_summary


@pytest.mark.parametrize("different", [1, 2, 19])
def test_too_few_different_rows_are_not_tested_and_not_calm(test: WindowTest, different: int) -> None:
    arrays = WORLD.traffic(200, np.random.default_rng(14))
    report = test(**rows(arrays, np.arange(200) % different))
    assert (report.state, report.drifted, report.kind) == ("not_tested", True, "repeats")
    assert report.p_value <= 0.01
    assert test.p_value(**rows(arrays, np.arange(200) % different)) == report.p_value
    for text in (report.summary, report.alert_summary):
        assert "again and again" in text
        assert "Warming up" not in text


def test_repeats_that_the_reference_has_as_well_are_no_finding() -> None:
    rng = np.random.default_rng(14)
    arrays = WORLD.traffic(600, rng)
    tested = WindowTest(Reference(**rows(arrays, rng.integers(0, 300, 600))), window_size=200)
    report = tested(**rows(arrays, rng.integers(300, 600, 200)))
    assert report.repeats.share > 0.2
    assert report.kind != "repeats"


def test_too_small_a_window_is_said_to_warm_up(test: WindowTest) -> None:
    report = test(**WORLD.traffic(19, np.random.default_rng(14), move=5))
    assert (report.state, report.p_value, report.drifted, report.kind) == ("warming_up", 1.0, False, "none")
    assert "Warming up" not in report.alert_summary


def test_an_alert_never_says_that_there_is_no_drift(test: WindowTest) -> None:
    report = test(**WORLD.traffic(200, np.random.default_rng(12)))
    assert "No drift" in report.summary
    assert "No drift" not in report.alert_summary


def test_p_values_at_their_floor_read_less_than_and_evidence_goes_on(test: WindowTest) -> None:
    rng = np.random.default_rng(12)
    mild, strong = test(**WORLD.traffic(200, rng, move=0.4)), test(**WORLD.traffic(200, rng, move=2.0))
    assert mild.p_value == strong.p_value == mild.p_value_floor
    assert strong.evidence > mild.evidence > -np.log(mild.p_value_floor)
    calm = test(**WORLD.traffic(200, rng))
    assert calm.evidence == pytest.approx(-np.log(calm.p_value))


def test_every_window_has_permutations_of_its_own(reference: Reference) -> None:
    tested = WindowTest(reference, window_size=100)
    rng = np.random.default_rng(30)
    windows = [tested._validate(*WORLD.traffic(100, rng).values()) for _ in range(2)]
    assert windows[0].seed != windows[1].seed


def test_a_new_kind_of_image_is_named(test: WindowTest) -> None:
    rng = np.random.default_rng(31)
    arrays = WORLD.traffic(200, rng)
    strange = WORLD.see(np.full(20, 2), rng, move=4.0)
    for name in arrays:
        arrays[name][40:60] = strange[name]
    report = test(**arrays)
    assert report.drifted
    assert report.new_kind.share == pytest.approx(0.1, abs=0.03)
    assert "new kind" in report.summary
    assert test(**WORLD.traffic(200, rng, prior=missing())).new_kind is None


def test_classes_are_named_when_changed_images_move_them(reference: Reference) -> None:
    report = WindowTest(reference, window_size=300)(**WORLD.traffic(300, np.random.default_rng(32), move=2.0))
    assert report.kind in ("covariate", "both")
    assert "→" in report.summary
    assert "predicts" in report.summary or "proportions" in report.summary


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_any_float_type(reference: Reference, dtype: Any) -> None:
    rng = np.random.default_rng(15)
    arrays = {name: values.astype(dtype) for name, values in WORLD.traffic(100, rng).items()}
    assert not WindowTest(reference, window_size=100)(**arrays).drifted


@pytest.mark.parametrize("world", [World(k=2, d=1), World(k=2, d=3), World(k=40, d=8)])
def test_any_number_of_classes_and_dimensions(world: World) -> None:
    rng = np.random.default_rng(16)
    tested = WindowTest(world.reference(600, rng), window_size=100)
    calm, moved = tested(**world.traffic(100, rng)), tested(**world.traffic(100, rng, move=2.0))
    assert calm.state == "tested"
    assert np.isfinite(calm.p_value)
    assert calm.p_value > 0.001
    assert moved.kind in ("covariate", "both")


def test_saturated_softmax_and_constant_columns_raise_no_alarm() -> Any:
    rng = np.random.default_rng(17)

    def saturated(n: int) -> Arrays:
        labels = rng.integers(0, 3, n)
        embeddings = np.zeros((n, 4))
        embeddings[:, 0] = labels + np.linspace(0, 1e-3, n)
        return {"embeddings": embeddings, "probabilities": np.eye(3)[labels], "properties": np.ones((n, 2))}

    tested = WindowTest(Reference(**saturated(300), labels=None), window_size=100)
    report = tested(**saturated(100))
    assert report.p_value > 0.001
    assert report.label_shift is None
    assert report.performance is None
    assert [(shift.constant, shift.effect) for shift in report.properties] == [(True, 0.0)] * 2


def test_without_properties(reference: Reference) -> None:
    rng = np.random.default_rng(18)
    arrays = WORLD.traffic(100, rng, move=0.8)
    del arrays["properties"]
    report = WindowTest(reference, window_size=100)(**arrays)
    assert report.kind in ("covariate", "both")
    assert report.properties == ()
    assert "properties" not in report.tests


def test_properties_that_the_reference_lacks_are_left_out() -> None:
    rng = np.random.default_rng(23)
    arrays = WORLD.traffic(600, rng)
    tested = WindowTest(Reference(arrays["embeddings"], arrays["probabilities"]), window_size=100)
    assert tested(**WORLD.traffic(100, rng)).properties == ()


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("embeddings", lambda a: np.where(np.arange(a.size).reshape(a.shape) == 5, np.nan, a), "NaN or infinity"),
        ("embeddings", lambda a: a[:, :-1], "columns"),
        ("embeddings", lambda a: a[:-1], "rows"),
        ("probabilities", lambda a: a * 3 - 1, "0..1"),
        ("probabilities", lambda a: a * 0.5, "sum to 1"),
        ("properties", lambda a: a[:, :1], "columns"),
        ("embeddings", lambda a: a.astype(str), "numbers"),
        ("embeddings", lambda a: a[0], "two dimensions"),
    ],
)
def test_bad_input_is_a_clear_error(test: WindowTest, name: str, spoil: Any, message: str) -> None:
    arrays = WORLD.traffic(100, np.random.default_rng(19))
    with pytest.raises(ValueError, match=message):
        test(**arrays | {name: spoil(arrays[name])})


def test_bad_arguments_are_clear_errors(reference: Reference) -> None:
    with pytest.raises(ValueError, match="window_size"):
        WindowTest(reference, window_size=5)
    with pytest.raises(ValueError, match="level"):
        WindowTest(reference, level=0)
    with pytest.raises(ValueError, match="50 rows"):
        Reference(np.zeros((20, 2)), np.full((20, 2), 0.5))
    with pytest.raises(ValueError, match="calm traffic must have 1000 rows"):
        WindowTest(reference, window_size=100, calm=WORLD.traffic(500, np.random.default_rng(20)))


@pytest.mark.parametrize(("n", "m"), [(3000, 200), (300, 12_000)])
def test_memory_stays_within_the_documented_bound(n: int, m: int) -> None:
    """Peak of a window against the bound in WindowTest's notes; NumPy reports to tracemalloc."""
    rng = np.random.default_rng(21)
    tested = WindowTest(WORLD.reference(n, rng), window_size=m)
    arrays = WORLD.traffic(m, rng)
    tracemalloc.start()
    report = tested(**arrays)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rows_tested = n + min(m, 5000)
    assert report.tested == min(m, 5000)
    assert peak < 4 * rows_tested * (2 * 500 + 4 * 256 + 32 * 8) + 30e6


def test_calm_traffic_in_bursts_is_not_called_drift(reference: Reference) -> None:
    """Bursts of 20 of one class: the independent null alarms on most windows, the block bootstrap at its level."""
    rng = np.random.default_rng(22)
    plain = WindowTest(reference, window_size=200)
    known = WindowTest(reference, window_size=200, calm=WORLD.bursts(6000, rng))
    windows = [WORLD.bursts(200, rng) for _ in range(30)]
    alarms = [sum(tested.p_value(**window) <= 0.05 for window in windows) for tested in (plain, known)]
    assert alarms[0] >= 15
    assert alarms[1] <= stats.binom.ppf(0.9995, 30, 0.05)
    report = known(**WORLD.traffic(200, rng, move=1.0))
    assert report.drifted
    assert report.design_effect is not None
    assert report.design_effect > 5


def test_power_table_says_what_a_reference_can_see() -> None:
    """More is seen in larger windows, and the smallest shift named is really seen."""
    table = power_table(WORLD.reference(1200, np.random.default_rng(24)), window_sizes=(60, 300))
    by_shift = {(row.shift, row.window_size): row.smallest for row in table}
    assert len(by_shift) == 6
    for shift in {row.shift for row in table}:
        small, large = by_shift[shift, 60], by_shift[shift, 300]
        assert large is not None
        assert small is None or large <= small
