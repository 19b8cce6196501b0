"""How much more often new rows alarm than the simulation that sets the threshold, per expected run time.

The figure behind `FRESH_RATIO` in service/drift/detector_calibration.py: epochs in control drawn from rows that the
reference does not hold, against the thresholds without that factor. The rates of single references show whether the run
time holds for nine of ten.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.world import World, reference, rows
from tidemark.drift import DetectorScores
from tidemark.drift.calibration import calibrate
from tidemark.drift.detector_calibration import FRESH_RATIO
from tidemark.drift.simulated_epochs import EPOCH, epoch_maxima, simulate
from tidemark.drift.simulation import sums_of
from tidemark.drift.window_statistics import BLOCK

RUN_TIMES = (5_000, 20_000, 100_000)  # predictions
REFERENCES = 10
CHUNKS = 30  # of ten streams, for each reference


class FreshStreams:
    """Streams of independent rows.

    Parameters
    ----------
    scores : float32 (n, columns of a block sum), of rows that the reference does not hold.
    """

    def __init__(self, scores: NDArray[np.float32], rng: np.random.Generator) -> None:
        self._scores, self._rng = scores, rng

    def streams(self, count: int, length: int) -> NDArray[np.float32]:
        """Return block sums (count, length, columns)."""
        drawn = self._rng.integers(0, len(self._scores), count * length * BLOCK)
        return sums_of(self._scores, drawn, BLOCK).reshape(count, length, -1)


def run(world: World) -> None:
    """Print the rates of false alarms relative to those asked for: of each reference, and their mean."""
    seen = world.see(world.images)
    rates = []
    n = min(5000, len(world.labels) // 3)
    for seed in range(REFERENCES):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(world.labels))
        in_reference, others = order[:n], order[n:]
        drawn_reference = reference(rows(seen, in_reference), world.labels[in_reference])
        scores = DetectorScores(drawn_reference)
        fitted = calibrate(scores, seed)
        traffic = FreshStreams(scores.widen(scores(drawn_reference.check(**rows(seen, others)))), rng)
        maxima = []
        for _ in range(CHUNKS):
            simulated = simulate(traffic, scores, n)
            simulated.windows[:, :, 0] /= scores.excess
            maxima.append(epoch_maxima(simulated, fitted.scale))
        epoch = EPOCH * BLOCK
        below = [np.mean(np.concatenate(maxima) <= fitted.threshold(t / FRESH_RATIO)) for t in RUN_TIMES]
        rates.append([-np.log(share) / epoch * t for share, t in zip(below, RUN_TIMES, strict=True)])
    means, errors = np.mean(rates, axis=0), np.std(rates, axis=0) / np.sqrt(REFERENCES)
    for index, (run_time, mean, error) in enumerate(zip(RUN_TIMES, means, errors, strict=True)):
        each = ", ".join(f"{rate[index]:.2f}" for rate in sorted(rates, key=lambda rate: rate[index]))
        print(
            f"expected run time {run_time:7d}: new rows alarm {mean:.2f} ± {error:.2f} times as often as asked: {each}"
        )
