import numpy as np
import pytest

from tidemark.drift.evidence_scale import COMPONENT_WEIGHT, RATIO_MEMORY, TAIL, fit_scale


@pytest.mark.parametrize("blocks", [1, 100, 101, 250])
def test_ratios_are_scaled_by_the_quantile_of_their_tail_and_the_mean_excess_beyond_it(blocks: int) -> None:
    rng = np.random.default_rng(0)
    windows = [rng.gamma(3, size=(2, blocks, 2, 3)).astype(np.float32)]
    ratios = [rng.gamma(1, size=(2, blocks, 5)).astype(np.float32)]
    scale = fit_scale(windows, ratios)
    values = ratios[0].reshape(-1, 5).astype(np.float64)
    starts = np.quantile(values, TAIL, axis=0)
    np.testing.assert_allclose(scale.ratio_start, starts, rtol=1e-6)
    weight = len(values) / RATIO_MEMORY * (1 - TAIL)
    excess = np.array([(column[column > start] - start).mean() for column, start in zip(values.T, starts, strict=True)])
    slopes = (weight * excess + COMPONENT_WEIGHT) / (weight + COMPONENT_WEIGHT)
    np.testing.assert_allclose(scale.ratio_slope, slopes, rtol=1e-6)
