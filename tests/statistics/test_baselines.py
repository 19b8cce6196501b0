"""Accepted baselines, repeats and context: what is normal raises nothing, and a further change is found."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

from tests.support.worlds import Arrays, World, rows
from tidemark.drift import ConceptMonitor, Reference, StreamDetector, WindowTest
from tidemark.drift import calibration as room
from tidemark.drift.recent_repeats import MEMORY, RecentRepeats, joined_keys, row_keys

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

WORLD = World()
MIX = np.array([0.45, 0.25, 0.1, 0.1, 0.1])
ASKED = 5000


@pytest.fixture(scope="module")
def reference() -> Reference:
    return WORLD.reference(3000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def detector_calibration(reference: Reference) -> Any:
    return StreamDetector(reference, expected_run_time=100_000, seed=0).calibration()


@pytest.fixture(autouse=True)
def short_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_CHUNKS", 24)


def alarms(detector: StreamDetector, stream: Callable[[int], Arrays], total: int, step: int = 500) -> list[str]:
    leading = []
    for _ in range(0, total, step):
        detector.update(**stream(step))
        if detector.drift_detected:
            leading.append(str(detector.leading))
            detector.reset()
    return leading


ACCEPTED = [
    ("mix", {"prior": MIX}, {"prior": MIX, "move": 0.4}),
    ("images", {"move": 0.5}, {"move": 0.8}),
    ("all", {"move": 0.5, "prior": MIX}, {"move": 0.8, "prior": MIX}),
]


@pytest.mark.parametrize(("what", "normal", "further"), ACCEPTED)
def test_an_accepted_change_is_calm_and_a_further_one_is_found(
    reference: Reference, what: Any, normal: Any, further: Any
) -> None:
    rng = np.random.default_rng(1)
    baseline = reference.accept(**WORLD.traffic(6000, rng, **normal), what=what)
    detector = StreamDetector(baseline, expected_run_time=ASKED, seed=0)
    found = alarms(detector, lambda n: WORLD.traffic(n, rng, **normal), 20_000)
    assert len(found) <= stats.poisson.ppf(0.995, 20_000 / ASKED / 0.5)
    delays = []
    for _ in range(5):
        detector.reset()
        start = detector.count
        while not detector.drift_detected and detector.count < start + 2000:
            detector.update(**WORLD.traffic(10, rng, **further))
        delays.append(detector.count - start)
    assert np.median(delays) <= 100, delays


def test_few_accepted_rows_keep_the_run_time_and_find_a_further_change(reference: Reference) -> None:
    """The baselines' own errors are in their thresholds: 700 rows each, over baselines as they come."""
    count, delays = 0, []
    for seed in range(3):
        rng = np.random.default_rng(30 + seed)
        baseline = reference.accept(**WORLD.traffic(700, rng, move=0.45))
        detector = StreamDetector(baseline, expected_run_time=ASKED, seed=0)
        count += len(alarms(detector, partial(WORLD.traffic, rng=rng, move=0.45), 6000))
        detector.reset()
        start = detector.count
        while not detector.drift_detected and detector.count < start + 2000:
            detector.update(**WORLD.traffic(20, rng, move=0.8))
        delays.append(detector.count - start)
    assert count <= stats.poisson.ppf(0.995, 3 * 6000 / ASKED)
    assert max(delays) <= 200, delays


@pytest.mark.parametrize(("what", "normal", "further"), ACCEPTED[::2])
def test_windows_of_an_accepted_change_keep_the_level(
    reference: Reference, what: Any, normal: Any, further: Any
) -> None:
    rng = np.random.default_rng(2)
    baseline = reference.accept(**WORLD.traffic(3000, rng, **normal), what=what)
    test = WindowTest(baseline, window_size=300, seed=0, level=0.05)
    drifted = sum(test.p_value(**WORLD.traffic(300, rng, **normal)) <= 0.05 for _ in range(20))
    assert drifted <= stats.binom.ppf(0.995, 20, 0.05)
    assert test.p_value(**WORLD.traffic(300, rng, **further)) <= 0.01


def test_without_acceptance_a_changed_mix_alarms_for_ever(
    reference: Reference, detector_calibration: dict[str, Any]
) -> None:
    rng = np.random.default_rng(3)
    detector = StreamDetector(reference, expected_run_time=ASKED, calibration=detector_calibration)
    assert len(alarms(detector, lambda n: WORLD.traffic(n, rng, prior=MIX), 5000)) == 10


def test_labels_calibration_and_accuracy_stay_the_references(reference: Reference) -> None:
    rng = np.random.default_rng(4)
    darker = reference.accept(**WORLD.traffic(2000, rng, move=0.5), what="all")
    mix = reference.accept(**WORLD.traffic(2000, rng, prior=MIX), what="mix")
    again = darker.accept(**WORLD.traffic(2000, rng, move=0.6), what="images")
    for baseline in (darker, mix, again):
        assert baseline.source is baseline.labelled is reference
        assert ConceptMonitor(baseline).reference_accuracy == ConceptMonitor(reference).reference_accuracy
        assert (baseline.class_names, baseline.property_names) == (reference.class_names, reference.property_names)
        assert baseline.calibration.slope == reference.calibration.slope
    assert (darker.accepted, mix.accepted, again.accepted) == ("all", "mix", "images")
    assert darker.labels is None
    assert mix.labels is not None
    shares = np.bincount(mix.labels, minlength=5) / len(mix)
    assert np.abs(shares - MIX).max() < 0.05


def test_a_mix_is_a_subsample_of_the_reference_and_deterministic(reference: Reference) -> None:
    rng = np.random.default_rng(5)
    traffic = WORLD.traffic(4000, rng, prior=MIX)
    one, other = (reference.accept(**traffic, what="mix") for _ in range(2))
    assert (one.embeddings == other.embeddings).all()
    assert len(np.unique(one.embeddings, axis=0)) == len(one)
    assert len(reference) / 3 < len(one) < len(reference)


def test_dependent_traffic_is_accepted_with_its_own_error(reference: Reference) -> None:
    """Bursts of 20 of one class: an accepted stretch of 6,000 knows its mean as 300 independent images do."""
    rng = np.random.default_rng(6)
    baseline = reference.accept(**WORLD.bursts(6000, rng), what="all")
    detector = StreamDetector(baseline, expected_run_time=ASKED, seed=0)
    found = alarms(detector, lambda n: WORLD.bursts(n, rng), 20_000)
    assert len(found) <= stats.poisson.ppf(0.995, 20_000 / ASKED / 0.5)


def test_what_cannot_be_accepted_is_a_clear_error(reference: Reference) -> None:
    traffic = WORLD.traffic(600, np.random.default_rng(7))
    with pytest.raises(ValueError, match="what must be one of mix, images, all"):
        reference.accept(**traffic, what=cast("Any", "both"))
    with pytest.raises(ValueError, match="at least 500 predictions, got 100"):
        reference.accept(**rows(traffic, slice(100)))
    few = Reference(rows(traffic, slice(600))["embeddings"], np.eye(5)[np.r_[np.zeros(590, int), np.ones(10, int)]])
    ones = np.eye(5)[np.ones(600, dtype=int)]
    with pytest.raises(ValueError, match=r"the reference has \d+ rows of the classes"):
        few.accept(traffic["embeddings"], ones, what="mix")
    with pytest.raises(ValueError, match="have none"):
        reference.accept(traffic["embeddings"], traffic["probabilities"])


# ------------------------------------------------------------------------------------------------------------ repeats


def repeating(rng: np.random.Generator, share: float, image: Arrays) -> Any:
    def stream(n: int) -> Arrays:
        arrays, hit = WORLD.traffic(n, rng), rng.random(n) < share
        return {name: np.where(hit[:, None], image[name], values) for name, values in arrays.items()}

    return stream


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_one_image_that_comes_again_and_again_is_told_as_repeats_only(
    reference: Reference, detector_calibration: dict[str, Any], share: float
) -> None:
    rng = np.random.default_rng(8)
    detector = StreamDetector(reference, expected_run_time=100_000, calibration=detector_calibration)
    found = alarms(detector, repeating(rng, share, WORLD.traffic(1, rng)), 10_000)
    assert set(found) == {"repeats"}
    assert detector.repeat_share == pytest.approx(share, abs=0.02)


def test_few_repeats_and_a_burst_of_retries_are_no_surge(
    reference: Reference, detector_calibration: dict[str, Any]
) -> None:
    rng = np.random.default_rng(9)
    detector = StreamDetector(reference, expected_run_time=100_000, calibration=detector_calibration)
    image = WORLD.traffic(1, rng)
    assert "repeats" not in alarms(detector, repeating(rng, 0.01, image), 10_000)
    detector.update(**{name: np.repeat(values, 30, axis=0) for name, values in image.items()})
    assert not detector.drift_detected


def test_repeats_beyond_the_memory_count_again(reference: Reference, detector_calibration: dict[str, Any]) -> None:
    rng = np.random.default_rng(10)
    detector = StreamDetector(reference, expected_run_time=1e9, calibration=detector_calibration)
    image = WORLD.traffic(1, rng)
    for gap, repeats in ((MEMORY - 1, 1), (MEMORY, 0)):
        detector.update(**image)
        detector.update(**WORLD.traffic(gap, rng))
        detector.update(**image)
        assert detector.repeat_share == repeats / MEMORY
        detector.update(**WORLD.traffic(MEMORY, rng))


def test_a_state_remembers_what_was_seen(reference: Reference, detector_calibration: dict[str, Any]) -> None:
    rng = np.random.default_rng(11)
    one = StreamDetector(reference, expected_run_time=10_000, calibration=detector_calibration)
    stream = repeating(rng, 0.1, WORLD.traffic(1, rng))
    for _ in range(20):
        other = StreamDetector.restore(reference, one.state(), one.scores)
        arrays = stream(int(rng.integers(1, 400)))
        one.update(**arrays)
        other.update(**arrays)
        assert (one.evidence, one.repeat_share, one.leading) == (other.evidence, other.repeat_share, other.leading)
    assert one.leading == "repeats"


def test_a_reference_of_traffic_with_repeats_accepts_them(reference: Reference) -> None:
    rng = np.random.default_rng(12)
    stream = repeating(rng, 0.05, WORLD.traffic(1, rng))
    baseline = reference.accept(**stream(6000), what="all")
    detector = StreamDetector(baseline, expected_run_time=10_000, seed=0)
    assert "repeats" not in alarms(detector, stream, 10_000)


def test_evidence_of_repeats_keeps_its_run_time() -> None:
    """Independent repeats at the normal share: false alarms of the CUSUM at 6 nats, against exp(6) steps at least."""
    rng = np.random.default_rng(13)
    count, steps, repeats = 0, 60_000, RecentRepeats(0.0)
    keys = np.where(rng.random(steps * 10) < 0.01, -7, np.arange(steps * 10))
    for part in np.array_split(keys, steps // 5):
        repeats.mark(part)
        if repeats.evidence > 6:
            count += 1
            repeats.clear()
    assert count <= stats.poisson.ppf(0.995, steps / np.exp(6))


def test_keys_are_equal_for_equal_rows_only() -> None:
    embeddings = np.random.default_rng(14).normal(size=(20_000, 16)).astype(np.float32)
    keys = joined_keys(row_keys(embeddings))
    assert len(np.unique(keys)) == 20_000
    assert (joined_keys(row_keys(embeddings[::-1])) == keys[::-1]).all()
    embeddings[0, 3] = np.nextafter(embeddings[0, 3], np.float32(9))
    assert joined_keys(row_keys(embeddings[:1]))[0] != keys[0]
    assert (row_keys(np.zeros((1, 4), np.float32)) == row_keys(-np.zeros((1, 4), np.float32))).all()


# ------------------------------------------------------------------------------------------------------------ context


class Cycle:
    """Traffic whose images follow a cycle of 2,000 predictions; continues in time by itself."""

    def __init__(self, rng: np.random.Generator, amplitude: float = 0.2) -> None:
        self.rng, self.amplitude, self.time = rng, amplitude, 0

    def __call__(self, n: int, move: float = 0.0) -> Arrays:
        phase = 2 * np.pi * (self.time + np.arange(n)) / 2000
        self.time += n
        labels = WORLD.labels(n, self.rng)
        shift = (move + self.amplitude * (1 + np.sin(phase)))[:, None]
        return WORLD.see(labels, self.rng, move=shift) | {"context": np.stack([np.sin(phase), np.cos(phase)], axis=1)}


def without_context(arrays: Arrays) -> Arrays:
    return {name: values for name, values in arrays.items() if name != "context"}


@pytest.fixture(scope="module")
def of_a_cycle(reference: Reference) -> StreamDetector:
    return StreamDetector(reference, expected_run_time=ASKED, calm=Cycle(np.random.default_rng(15))(10_000))


def test_a_cycle_with_its_context_raises_nothing_and_hides_nothing(
    reference: Reference, of_a_cycle: StreamDetector
) -> None:
    rng = np.random.default_rng(16)
    cycle, calibration = Cycle(rng), of_a_cycle.calibration()
    detector = StreamDetector(reference, expected_run_time=ASKED, calibration=calibration)
    assert detector.context_columns == 2
    found = alarms(detector, cycle, 20_000)
    assert len(found) <= stats.poisson.ppf(0.995, 20_000 / ASKED / 0.5)
    delays = []
    for _ in range(5):
        cycle.time += 700
        detector.reset()
        start = detector.count
        while not detector.drift_detected and detector.count < start + 2000:
            detector.update(**cycle(20, move=0.25))
        delays.append(detector.count - start)
    assert np.median(delays) <= 300, delays


def test_a_cycle_that_is_not_declared_is_reported(reference: Reference, detector_calibration: dict[str, Any]) -> None:
    cycle = Cycle(np.random.default_rng(17))
    detector = StreamDetector(reference, expected_run_time=100_000, calibration=detector_calibration)
    steady = StreamDetector(reference, expected_run_time=100_000, calibration=detector_calibration)
    alarms(detector, lambda n: without_context(cycle(n)), 20_000)
    rng = np.random.default_rng(18)
    alarms(steady, lambda n: WORLD.traffic(n, rng), 20_000)
    assert detector.overdispersed
    assert detector.design_effect > 2
    assert steady.design_effect < 1.3


def test_state_of_a_detector_with_a_context_is_restored(reference: Reference, of_a_cycle: StreamDetector) -> None:
    cycle = Cycle(np.random.default_rng(19))
    other = StreamDetector.restore(reference, of_a_cycle.state())
    arrays = cycle(300)
    of_a_cycle.update(**arrays)
    other.update(**arrays)
    assert (other.evidence, other.threshold) == (of_a_cycle.evidence, of_a_cycle.threshold)
    of_a_cycle.reset()


def test_a_context_that_does_not_fit_is_a_clear_error(reference: Reference, of_a_cycle: StreamDetector) -> None:
    arrays = Cycle(np.random.default_rng(20))(50)
    with pytest.raises(ValueError, match="declared with a context"):
        of_a_cycle.update(**without_context(arrays))
    with pytest.raises(ValueError, match="context must have shape"):
        of_a_cycle.update(**arrays | {"context": np.zeros((50, 3))})
    with pytest.raises(ValueError, match="context holds NaN"):
        of_a_cycle.update(**arrays | {"context": np.full((50, 2), np.nan)})
    with pytest.raises(ValueError, match="context must have shape"):
        StreamDetector(reference, calm=WORLD.traffic(1000, np.random.default_rng(0)) | {"context": np.zeros(1000)})
