"""The delays that are predicted in advance are those that a detector has."""

import numpy as np

from tests.support.worlds import World
from tidemark.drift import StreamDetector
from tidemark.drift.detectable import detectable_shares

STEP = 50  # predictions between two questions for an alarm


def test_a_doubled_class_is_detected_within_the_predictions_that_are_reported() -> None:
    """The median of nine delays is at most the predicted one, and not far below it."""
    world, rng = World(k=10, spread=2.0), np.random.default_rng(0)
    reference = world.reference(4000, rng)
    start = StreamDetector(reference, expected_run_time=10_000, seed=0).state()
    (expected_delay,) = (row.predictions for row in detectable_shares(10_000, 4000) if row.after == 0.20)
    assert expected_delay is not None
    prior = np.full(10, 0.8 / 9)
    prior[0] = 0.2
    delays = []
    for _ in range(9):
        detector, delay = StreamDetector.restore(reference, start), 0
        while not detector.drift_detected and delay < 10 * expected_delay:
            traffic = world.traffic(STEP, rng, prior)
            detector.update(traffic["embeddings"], traffic["probabilities"], traffic["properties"])
            delay += STEP
        delays.append(delay)
    assert expected_delay / 4 <= float(np.median(delays)) <= expected_delay
