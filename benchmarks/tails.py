"""How much more often fresh traffic alarms than the simulation that sets the threshold, per expected run time.

The figure behind `BEYOND_REFERENCE` in service/drift/calibration.py: calm epochs drawn from rows that the reference
does not hold, against the thresholds without that factor.
"""

import numpy as np

from benchmarks.world import World, reference, rows
from tidemark.drift import StreamDetector
from tidemark.drift import calibration as room

RUN_TIMES = (5_000, 20_000, 100_000)
REFERENCES = 10
STREAMS = 300


class Fresh:
    """Streams of independent rows."""

    def __init__(self, scores: np.ndarray, rng: np.random.Generator) -> None:
        self._scores, self._rng = scores, rng

    def streams(self, count: int, length: int) -> np.ndarray:
        drawn = self._rng.integers(0, len(self._scores), (count, length * room.BLOCK))
        return room._sums(self._scores, drawn, room.BLOCK).reshape(count, length, -1)


def run(world: World) -> None:
    """Print the ratio of alarm rates, with its standard error over references."""
    seen = world.see(world.images)
    found = []
    n = min(5000, len(world.labels) // 3)
    for seed in range(REFERENCES):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(world.labels))
        known, others = order[:n], order[n:]
        own = reference(rows(seen, known), world.labels[known])
        detector = StreamDetector(own, expected_run_time=RUN_TIMES[0], seed=seed)
        scores = detector.scores
        fitted = detector._calibration._replace(margin=1.0)
        fresh = scores(own.check(**rows(seen, others)))
        windows, ratios = room._simulate(Fresh(fresh, rng), scores, n, STREAMS)
        windows[:, :, 0] /= scores.excess
        maxima = room._maxima(windows, ratios, fitted.scale)
        epoch = room.EPOCH * room.BLOCK
        found.append([-np.log(np.mean(maxima <= fitted.threshold(t))) / epoch * t for t in RUN_TIMES])
    means, errors = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(REFERENCES)
    for run_time, mean, error in zip(RUN_TIMES, means, errors, strict=True):
        print(f"expected run time {run_time:7d}: fresh rows alarm {mean:.2f} ± {error:.2f} times as often as simulated")
