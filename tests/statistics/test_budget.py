"""The false-alarm budget of a model is kept by its streams together, whatever share of the traffic each sees."""

import numpy as np
import pytest
from scipy import stats

from tests.support.worlds import World, rows
from tidemark.drift import StreamDetector
from tidemark.monitor.budget import DETECTOR_SHARE, stream_budget
from tidemark.settings import Settings

WORLD = World()


def test_the_rates_of_all_streams_add_up_to_what_was_asked() -> None:
    """1 / ERT_whole + sum f / ERT_slice against 1 / ERT, for any shares that add up to one a tag."""
    rng = np.random.default_rng(0)
    for tags in ((), ("camera",), ("camera", "site", "client")):
        settings = Settings(slice_tags=tags, expected_run_time=50_000)
        shares = [share for _ in tags for share in rng.dirichlet(np.full(21, 0.3))]
        rate = (1 + sum(shares)) / stream_budget(settings).detector
        assert rate == pytest.approx(DETECTOR_SHARE / 50_000)


@pytest.mark.parametrize("references", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_a_model_with_slices_keeps_its_expected_run_time(references: int) -> None:
    """A model of four unequal slices: false alarms of all five streams together in 8,000 calm predictions of each
    reference against .8 to 1.5 of the expected run time, and those of the slices against half of them."""
    rng = np.random.default_rng(1)
    run_time, total, step = 1000, 8000, 500
    settings = Settings(slice_tags=("camera",), expected_run_time=run_time)
    whole, of_slices = 0, 0
    for seed in range(references):
        reference = WORLD.reference(1500, rng)
        first = StreamDetector(reference, expected_run_time=stream_budget(settings).detector, seed=seed)
        calibration = first.calibration()
        detectors = [
            StreamDetector(reference, stream_budget(settings).detector, calibration=calibration) for _ in range(4)
        ]
        for _ in range(0, total, step):
            traffic, camera = WORLD.traffic(step, rng), rng.choice(4, step, p=[0.6, 0.25, 0.1, 0.05])
            first.update(**traffic)
            whole += first.drift_detected
            for number, detector in enumerate(detectors):
                if (camera == number).any():
                    detector.update(**rows(traffic, camera == number))
                of_slices += detector.drift_detected
            for detector in (first, *detectors):
                if detector.drift_detected:
                    detector.reset()
    expected = references * total * DETECTOR_SHARE / run_time
    for alarms, share in ((whole, 0.5), (of_slices, 0.5), (whole + of_slices, 1.0)):
        low, high = expected * share / 1.5, expected * share / 0.8
        assert stats.poisson.ppf(0.005, low) <= alarms <= stats.poisson.ppf(0.995, high), (whole, of_slices)
