"""What a window test takes: any float type, shape and number of classes; the rest is a clear error."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from tests.support.worlds import Arrays, World
from tidemark.drift import Reference, WindowTest, blocks, calm_null

WORLD = World()


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_any_float_type(reference: Reference, dtype: Any) -> None:
    rng = np.random.default_rng(15)
    arrays = {name: values.astype(dtype) for name, values in WORLD.traffic(100, rng).items()}
    assert not WindowTest(reference, window_size=100)(**arrays).drifted


@pytest.mark.parametrize("world", [World(k=2, d=1), World(k=2, d=3), World(k=40, d=8)])
def test_any_number_of_classes_and_dimensions(world: World) -> None:
    rng = np.random.default_rng(16)
    window_test = WindowTest(world.reference(600, rng), window_size=100)
    calm, shifted = window_test(**world.traffic(100, rng)), window_test(**world.traffic(100, rng, move=2.0))
    assert calm.state == "tested"
    assert np.isfinite(calm.p_value)
    assert calm.p_value > 0.001
    assert shifted.kind in ("covariate", "both")


def test_saturated_softmax_and_constant_columns_raise_no_alarm() -> None:
    rng = np.random.default_rng(17)

    def saturated(n: int) -> Arrays:
        labels = rng.integers(0, 3, n)
        embeddings = np.zeros((n, 4))
        embeddings[:, 0] = labels + np.linspace(0, 1e-3, n)
        return {"embeddings": embeddings, "probabilities": np.eye(3)[labels], "properties": np.ones((n, 2))}

    window_test = WindowTest(Reference(**saturated(300), labels=None), window_size=100)
    report = window_test(**saturated(100))
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


def test_properties_that_the_reference_lacks_are_omitted() -> None:
    rng = np.random.default_rng(23)
    arrays = WORLD.traffic(600, rng)
    window_test = WindowTest(Reference(arrays["embeddings"], arrays["probabilities"]), window_size=100)
    assert window_test(**WORLD.traffic(100, rng)).properties == ()


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
def test_bad_input_is_a_clear_error(window_test: WindowTest, name: str, spoil: Any, message: str) -> None:
    arrays = WORLD.traffic(100, np.random.default_rng(19))
    with pytest.raises(ValueError, match=message):
        window_test(**arrays | {name: spoil(arrays[name])})


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
    window_test = WindowTest(WORLD.reference(n, rng), window_size=m)
    arrays = WORLD.traffic(m, rng)
    tracemalloc.start()
    report = window_test(**arrays)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rows_tested = n + min(m, 5000)
    assert report.tested == min(m, 5000)
    assert peak < 4 * rows_tested * (2 * 500 + 4 * 256 + 32 * 8) + 30e6


def test_a_test_has_at_most_9999_permutations_whatever_its_level(reference: Reference) -> None:
    test = WindowTest(reference, window_size=50, level=1e-9)
    report = test(**WORLD.traffic(50, np.random.default_rng(23), move=3.0))
    assert report.p_value == pytest.approx(1e-4)


def test_null_distributions_of_few_sizes_are_held_and_drawn_again_alike(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calm_null, "MAX_SIZES", 2)
    sizes: list[int] = []
    spread_of_means = blocks.spread_of_means

    def counted(series: np.ndarray, block: float, m: int) -> blocks.SpreadOfMeans:
        sizes.append(m)
        return spread_of_means(series, block, m)

    monkeypatch.setattr(blocks, "spread_of_means", counted)
    rng = np.random.default_rng(22)
    test = WindowTest(reference, window_size=50, level=0.05, calm=WORLD.traffic(500, rng))
    windows = [WORLD.traffic(size, rng) for size in (50, 60, 70)]
    first = [test.p_value(**window) for window in windows]
    assert [test.p_value(**window) for window in windows[::-1]] == first[::-1]
    assert [sizes.count(size) for size in sorted(set(sizes))] == [2, 1, 1]
