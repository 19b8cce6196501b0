"""Exact repeats of an image in a window: counted, tested once, and never called calm."""

import numpy as np
import pytest

from tests.support.worlds import World, rows
from tidemark.drift import Reference, WindowTest

WORLD = World()


def test_a_few_exact_repeats_are_tested_once_and_counted(window_test: WindowTest) -> None:
    arrays = WORLD.traffic(195, np.random.default_rng(13))
    report = window_test(**rows(arrays, np.concatenate([np.arange(195), np.zeros(5, int)])))
    assert (report.size, report.duplicates, report.tested) == (200, 5, 195)
    assert report.repeats.share == pytest.approx(5 / 200)
    assert (report.drifted, report.kind) == (False, "none")


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_window_with_one_frozen_frame_is_always_drifted(window_test: WindowTest, share: float) -> None:
    rng = np.random.default_rng(13)
    for _ in range(5):
        arrays = WORLD.traffic(500, rng)
        report = window_test(**rows(arrays, np.where(rng.random(500) < share, 0, np.arange(500))))
        assert (report.drifted, report.kind) == (True, "repeats")
        assert report.p_value <= 0.01
        assert report.repeats.largest_share == pytest.approx(share, abs=0.1)
        assert "same image again and again" in report.summary
        assert "No drift" not in report.summary + report.alert_summary


@pytest.mark.parametrize("different", [1, 2, 19])
def test_too_few_different_rows_are_not_tested_and_drifted(window_test: WindowTest, different: int) -> None:
    arrays = WORLD.traffic(200, np.random.default_rng(14))
    report = window_test(**rows(arrays, np.arange(200) % different))
    assert (report.state, report.drifted, report.kind) == ("not_tested", True, "repeats")
    assert report.p_value <= 0.01
    assert window_test.p_value(**rows(arrays, np.arange(200) % different)) == report.p_value
    for text in (report.summary, report.alert_summary):
        assert "again and again" in text
        assert "Warming up" not in text


def test_repeats_that_the_reference_has_as_well_are_no_finding() -> None:
    rng = np.random.default_rng(14)
    arrays = WORLD.traffic(600, rng)
    window_test = WindowTest(Reference(**rows(arrays, rng.integers(0, 300, 600))), window_size=200)
    report = window_test(**rows(arrays, rng.integers(300, 600, 200)))
    assert report.repeats.share > 0.2
    assert report.kind != "repeats"
