"""P-values do not depend on rounding errors: of another processor, another order of rows, or single precision."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support import tied_windows
from tests.support.worlds import World
from tidemark.drift import combination
from tidemark.drift.fitted_statistics import FittedStatistics
from tidemark.drift.mean_statistics import Spectrum
from tidemark.drift.permutations import Contrasts
from tidemark.drift.prediction_views import PredictionViews
from tidemark.drift.principal_components import Projection


def test_p_values_of_tied_windows_are_the_same_with_the_linear_algebra_of_another_processor() -> None:
    """Prescott, of 2004, is what every processor of x86-64 can compute with; others ignore the variable."""
    environment = os.environ | {"OPENBLAS_CORETYPE": "Prescott"}
    command = [sys.executable, "-m", "tests.support.tied_windows"]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(process.stdout) == tied_windows.brief_p_values()


def test_p_values_of_tied_rows_do_not_depend_on_the_order_in_which_they_are_added_up() -> None:
    rng = np.random.default_rng(2)
    arrays = tied_windows.sure(World(k=3, d=6).traffic(240, rng))
    views = PredictionViews(arrays["embeddings"], arrays["probabilities"], arrays["properties"])
    contrasts = Contrasts.permutations(180, 60, 499, rng)
    (values,) = FittedStatistics(views, 0).evaluate(views, [contrasts])
    for _ in range(3):
        order = rng.permutation(240)
        shuffled = Contrasts(contrasts.weights[order], contrasts.sizes, contrasts.scale)
        (others,) = FittedStatistics(views.rows(order), 0).evaluate(views.rows(order), [shuffled])
        for name in ("ks log_probability", "ks property", "counts", "largest count", "largest soft count"):
            p, q = (combination.p_values(table[name].statistic) for table in (values, others))
            assert (p == q).all(), name
            assert len(np.unique(p)) < 250, f"{name} has no ties"


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_values_that_differ_by_rounding_errors_are_tied_in_ranks_and_tails(scale: float) -> None:
    rng = np.random.default_rng(3)
    whole = scale * rng.poisson(3, size=(6, 500)).astype(float)
    whole[0] = scale * rng.poisson(0.3, size=500)  # the tail begins at a value that a fifth of the draws have
    errors = rng.uniform(-1, 1, size=whole.shape)
    assert (combination.p_values(whole * (1 + 3e-6 * errors)) == combination.p_values(whole)).all()
    rounded = whole * (1 + 3e-7 * errors)
    np.testing.assert_allclose(combination.extended_p_values(rounded), combination.extended_p_values(whole), rtol=1e-5)
    for observed in range(100):
        first = np.roll(rounded, -observed, axis=1), np.roll(whole, -observed, axis=1)
        assert combination.combined(first[0]) == combination.combined(first[1])


def test_values_that_differ_by_more_are_not_tied() -> None:
    values = np.array([2.0, 2.0001, 1.9999, 1.0])
    assert combination.p_values(values).tolist() == [0.5, 0.25, 0.75, 1]


def test_principal_components_have_the_same_signs_in_whatever_order_rows_are_added_up() -> None:
    rng = np.random.default_rng(4)
    rows = (rng.normal(size=(300, 600)) * np.linspace(3, 1, 600)).astype(np.float32)
    narrow = np.ascontiguousarray(rows[:, :40] @ rng.normal(size=(40, 12)).astype(np.float32))
    projected, leading = Projection(rows)(rows), Spectrum(narrow).leading
    for _ in range(3):
        order = rng.permutation(len(rows))
        np.testing.assert_allclose(Projection(rows[order])(rows), projected, atol=0.01)
        np.testing.assert_allclose(Spectrum(narrow[order]).leading, leading, atol=0.01)


def test_components_that_hold_rounding_errors_only_are_left_out() -> None:
    rng = np.random.default_rng(5)
    shares = rng.dirichlet([1, 1, 1, 1], size=500).astype(np.float32)
    leading = Spectrum(np.hstack([shares, np.zeros((500, 1), np.float32)])).leading
    assert np.abs(leading).any(axis=0).tolist() == [True, True, True, False, False]
