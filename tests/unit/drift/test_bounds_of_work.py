"""Bounds on the rows, columns and dimensions that statistics take into account, however many there are."""

from typing import Any

import numpy as np
import pytest

from tidemark.drift import Reference, power
from tidemark.drift.calm_null import MAX_SERIES_CLASSES, CalmNull
from tidemark.drift.context_null import MAX_NEIGHBOURS, MAX_SERIES_COLUMNS, ContextNull
from tidemark.drift.fitted_reference import FittedReference
from tidemark.drift.overdispersion import MAX_SAMPLES, SHORTEST, Overdispersion
from tidemark.drift.power import MAX_ROWS, power_table
from tidemark.drift.prediction_views import PredictionViews
from tidemark.drift.principal_components import MAX_DIMENSIONS, MAX_FITTED_ROWS, Projection
from tidemark.drift.rehearsals.embedding_space import EmbeddingSpace
from tidemark.drift.simulated_traffic import MAX_NEIGHBOURS as MAX_NEIGHBOURING_BLOCKS
from tidemark.drift.simulated_traffic import DependentStreams


def views(n: int, d: int, k: int, rng: np.random.Generator) -> PredictionViews:
    probabilities = rng.dirichlet(np.ones(k), n).astype(np.float32)
    return PredictionViews(rng.normal(size=(n, d)).astype(np.float32), probabilities, None)


def reference(n: int, d: int) -> Reference:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    return Reference(rng.normal(size=(n, d)), np.full((n, 2), 0.5), labels=labels)


def series_columns(monkeypatch: pytest.MonkeyPatch, module: str) -> list[int]:
    """Return a list that receives the number of columns of every series whose block length is chosen."""
    columns: list[int] = []

    def block_length(series: np.ndarray) -> float:
        columns.append(series.shape[1])
        return 1.0

    monkeypatch.setattr(f"tidemark.drift.{module}.blocks.block_length", block_length)
    return columns


def test_a_row_of_a_window_matches_a_bounded_number_of_calm_rows() -> None:
    rng = np.random.default_rng(0)
    n = 25 * MAX_NEIGHBOURS  # a twentieth of them would be a quarter more than the bound
    null = ContextNull(views(n, 1, 2, rng), np.linspace(0, 1, n)[:, None], draws=2, seed=0)
    outcome = null.evaluate(views(20, 1, 2, rng), np.full((20, 1), 0.5), rng, bootstrap_draws=0)
    assert len(np.unique(outcome.normal.rows)) == MAX_NEIGHBOURS


def test_the_dependence_of_traffic_in_a_context_shows_in_a_bounded_number_of_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = series_columns(monkeypatch, "context_null")
    rng = np.random.default_rng(0)
    wide = views(100, MAX_SERIES_COLUMNS + 2, MAX_SERIES_COLUMNS + 1, rng)
    with_properties = PredictionViews(wide.embedding, wide.probabilities, wide.embedding)
    for calm in (views(100, 3, 2, rng), wide, with_properties):
        ContextNull(calm, rng.normal(size=(100, 1)), draws=2, seed=0)
    assert columns == [5, 2 * MAX_SERIES_COLUMNS, 3 * MAX_SERIES_COLUMNS]


def test_the_dependence_of_calm_traffic_shows_in_a_bounded_number_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = series_columns(monkeypatch, "calm_null")
    rng = np.random.default_rng(0)
    for k in (3, MAX_SERIES_CLASSES, 2 * MAX_SERIES_CLASSES):
        CalmNull(views(100, 2, k, rng), 100, draws=2, seed=0)
    groups = columns.pop() - MAX_SERIES_CLASSES  # of more classes similar ones are grouped, about 30 rows in each
    assert 1 <= groups <= 4
    assert columns == [2 * 3, 2 * MAX_SERIES_CLASSES]


def test_a_simulated_block_is_drawn_from_a_bounded_number_of_neighbours() -> None:
    blocks = 25 * MAX_NEIGHBOURING_BLOCKS
    context = np.linspace(0, 1, blocks)[:, None]
    traffic = DependentStreams(np.zeros((blocks, 1), np.float32), 1.0, np.random.default_rng(0), context)
    assert traffic._neighbours is not None
    assert traffic._neighbours.shape == (blocks, MAX_NEIGHBOURING_BLOCKS)


def test_the_table_of_power_compares_with_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Test:
        def __init__(self, part: Reference, **_: Any) -> None:
            sizes.append(len(part))

        def p_value(self, *_: Any) -> float:
            return 1.0

    monkeypatch.setattr(power, "WindowTest", Test)
    for n in (MAX_ROWS, 3 * MAX_ROWS):
        assert power_table(reference(n, 2), (100,))
    assert sizes == [MAX_ROWS // 2, MAX_ROWS]


def test_a_stream_keeps_a_bounded_number_of_differences() -> None:
    dispersion = Overdispersion([0], 1, np.ones(1), np.ones(1))
    rng = np.random.default_rng(0)
    for _ in range(MAX_SAMPLES * SHORTEST):
        dispersion.add(rng.normal(size=1).astype(np.float32))
    state = dispersion.state()
    assert np.shape(state["dispersion_samples"])[1] == MAX_SAMPLES
    assert np.max(state["dispersion_count"]) == MAX_SAMPLES


@pytest.mark.parametrize(("d", "is_projected"), [(MAX_DIMENSIONS, False), (MAX_DIMENSIONS + 1, True)])
def test_embeddings_are_projected_from_a_width_on(d: int, is_projected: bool) -> None:
    wide = reference(200, d)
    fitted = FittedReference(wide, seed=0)
    space = EmbeddingSpace(wide.embeddings, np.arange(200) % 2, 2)
    if is_projected:
        assert fitted.views.embedding.shape[1] <= 200 // 2
        assert len(fitted.rows) < 200  # the rest fits the projection
        assert space(wide.embeddings).shape[1] <= 200 // 2
    else:
        assert fitted.views.embedding.shape == (200, d)
        assert space(wide.embeddings).shape == (200, d)


def test_components_are_fitted_on_a_bounded_number_of_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(MAX_FITTED_ROWS + 100, MAX_DIMENSIONS + 1)).astype(np.float32)
    changed = rows.copy()
    changed[MAX_FITTED_ROWS:] += 1
    np.testing.assert_array_equal(Projection(rows)(rows[:5]), Projection(changed)(rows[:5]))
