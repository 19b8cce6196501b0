"""Accepted baselines: what was accepted raises nothing, and a further change is found."""

from functools import partial
from typing import Any, cast

import numpy as np
import pytest

from tests.support.detectors import CalibrationArrays, alarms_in, delay_of
from tests.support.rates import assert_level, assert_run_time
from tests.support.worlds import Change, World, rows
from tidemark.drift import ConceptMonitor, Reference, StreamDetector, WindowTest, reference
from tidemark.drift.reference import AcceptedPart

pytestmark = pytest.mark.usefixtures("short_calibrations")

WORLD = World()
MIX = np.array([0.45, 0.25, 0.1, 0.1, 0.1])
RUN_TIME = 5000
SHORT_RUN_TIME = 1000  # predictions; five times as many false alarms count in the same traffic


ACCEPTED: list[Any] = [  # what is accepted, the change, a further one
    ("mix", {"prior": MIX}, {"prior": MIX, "move": 0.4}),
    pytest.param("images", {"move": 0.5}, {"move": 0.8}, marks=pytest.mark.slow),
    ("all", {"move": 0.5, "prior": MIX}, {"move": 0.8, "prior": MIX}),
]


def often_alarming(baseline: Reference, detector: StreamDetector) -> StreamDetector:
    """Return a detector of the baseline with the same calibration and a short expected run time."""
    return StreamDetector(baseline, SHORT_RUN_TIME, calibration=detector.calibration())


@pytest.mark.parametrize(("what", "normal", "further"), ACCEPTED)
def test_an_accepted_change_is_calm_and_a_further_one_is_detected(
    large_reference: Reference, what: AcceptedPart, normal: Change, further: Change
) -> None:
    rng = np.random.default_rng(1)
    baseline = large_reference.accept(**WORLD.traffic(6000, rng, **normal), what=what)
    detector = StreamDetector(baseline, expected_run_time=RUN_TIME, seed=0)
    alarms = alarms_in(often_alarming(baseline, detector), partial(WORLD.traffic, rng=rng, **normal), 10_000, step=100)
    assert_run_time(len(alarms), 10_000, SHORT_RUN_TIME)
    delays = [delay_of(detector, partial(WORLD.traffic, rng=rng, **further), limit=2000, step=10) for _ in range(5)]
    assert np.median(delays) <= 100, delays


def test_few_accepted_rows_keep_the_run_time_and_find_a_further_change(large_reference: Reference) -> None:
    """The baselines' own errors are in their thresholds: 700 rows each, over baselines as they come."""
    count, delays = 0, []
    for seed in range(3):
        rng = np.random.default_rng(30 + seed)
        baseline = large_reference.accept(**WORLD.traffic(700, rng, move=0.45))
        detector = StreamDetector(baseline, expected_run_time=RUN_TIME, seed=0)
        traffic = partial(WORLD.traffic, rng=rng, move=0.45)
        count += len(alarms_in(often_alarming(baseline, detector), traffic, 6000, step=100))
        delays.append(delay_of(detector, partial(WORLD.traffic, rng=rng, move=0.8), limit=2000, step=20))
    assert_run_time(count, 3 * 6000, SHORT_RUN_TIME)
    assert max(delays) <= 200, delays


@pytest.mark.parametrize(("what", "normal", "further"), ACCEPTED[::2])
def test_windows_of_an_accepted_change_keep_the_level(
    large_reference: Reference, what: AcceptedPart, normal: Change, further: Change
) -> None:
    rng = np.random.default_rng(2)
    baseline = large_reference.accept(**WORLD.traffic(3000, rng, **normal), what=what)
    test = WindowTest(baseline, window_size=300, seed=0, level=0.05)
    assert_level([test.p_value(**WORLD.traffic(300, rng, **normal)) for _ in range(20)])
    assert test.p_value(**WORLD.traffic(300, rng, **further)) <= 0.01


def test_without_acceptance_a_changed_mix_keeps_raising_alarms(
    large_reference: Reference, brief_calibration: CalibrationArrays
) -> None:
    rng = np.random.default_rng(3)
    detector = StreamDetector(large_reference, expected_run_time=RUN_TIME, calibration=brief_calibration)
    assert len(alarms_in(detector, partial(WORLD.traffic, rng=rng, prior=MIX), 5000)) == 10


def test_labels_calibration_and_accuracy_remain_those_of_the_reference(large_reference: Reference) -> None:
    rng = np.random.default_rng(4)
    darker = large_reference.accept(**WORLD.traffic(2000, rng, move=0.5), what="all")
    mix = large_reference.accept(**WORLD.traffic(2000, rng, prior=MIX), what="mix")
    again = darker.accept(**WORLD.traffic(2000, rng, move=0.6), what="images")
    for baseline in (darker, mix, again):
        assert baseline.source is baseline.labelled is large_reference
        assert ConceptMonitor(baseline).reference_accuracy == ConceptMonitor(large_reference).reference_accuracy
        assert (baseline.class_names, baseline.property_names) == (
            large_reference.class_names,
            large_reference.property_names,
        )
        assert baseline.calibration.slope == large_reference.calibration.slope
    assert (darker.accepted, mix.accepted, again.accepted) == ("all", "mix", "images")
    assert darker.labels is None
    assert mix.labels is not None
    shares = np.bincount(mix.labels, minlength=5) / len(mix)
    assert np.abs(shares - MIX).max() < 0.05


def test_a_mix_is_a_subsample_of_the_reference_and_deterministic(large_reference: Reference) -> None:
    rng = np.random.default_rng(5)
    traffic = WORLD.traffic(4000, rng, prior=MIX)
    one, other = (large_reference.accept(**traffic, what="mix") for _ in range(2))
    assert (one.embeddings == other.embeddings).all()
    assert len(np.unique(one.embeddings, axis=0)) == len(one)
    assert len(large_reference) / 3 < len(one) < len(large_reference)


def test_an_accepted_baseline_has_a_bounded_number_of_rows_from_all_of_the_traffic(
    large_reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "MAX_ACCEPTED_ROWS", 1000)
    traffic = WORLD.traffic(3000, np.random.default_rng(13))
    accepted = large_reference.accept(**traffic, what="all")
    rows = {row.tobytes(): place for place, row in enumerate(traffic["embeddings"])}
    places = [rows[row.tobytes()] for row in accepted.embeddings]
    assert len(places) == 1000
    assert (min(places), max(places)) == (0, 2999)


def test_dependent_traffic_is_accepted_with_its_own_error(large_reference: Reference) -> None:
    """Bursts of 20 of one class: the mean of 6,000 predictions is as uncertain as that of 300 independent ones."""
    rng = np.random.default_rng(6)
    baseline = large_reference.accept(**WORLD.bursts(6000, rng), what="all")
    detector = StreamDetector(baseline, expected_run_time=RUN_TIME, seed=0)
    alarms = alarms_in(often_alarming(baseline, detector), partial(WORLD.bursts, rng=rng), 10_000, step=100)
    assert_run_time(len(alarms), 10_000, SHORT_RUN_TIME)


def test_what_cannot_be_accepted_is_a_clear_error(large_reference: Reference) -> None:
    traffic = WORLD.traffic(600, np.random.default_rng(7))
    with pytest.raises(ValueError, match="what must be one of mix, images, all"):
        large_reference.accept(**traffic, what=cast("Any", "both"))
    with pytest.raises(ValueError, match="at least 500 predictions, got 100"):
        large_reference.accept(**rows(traffic, slice(100)))
    few = Reference(rows(traffic, slice(600))["embeddings"], np.eye(5)[np.r_[np.zeros(590, int), np.ones(10, int)]])
    ones = np.eye(5)[np.ones(600, dtype=int)]
    with pytest.raises(ValueError, match=r"the reference has \d+ rows of the classes"):
        few.accept(traffic["embeddings"], ones, what="mix")
    with pytest.raises(ValueError, match="have none"):
        large_reference.accept(traffic["embeddings"], traffic["probabilities"])
