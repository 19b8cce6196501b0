"""Run times of the sequential detector up to 10⁷ predictions, on rows that its reference does not hold.

For each of several references: the rate of false alarms at the threshold of each expected run time, over the one asked
for, by importance splitting. The rates of single references show whether the run time holds for nine of ten; the figure
behind `FRESH_RATIO` in service/drift/detector_calibration.py is their ninth tenth with that factor set to one.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.importance_splitting import StreamSimulator, estimate_tail
from benchmarks.world import World, reference, rows
from tidemark.drift import DetectorScores
from tidemark.drift.detector_simulation import calibrate
from tidemark.drift.simulated_traffic import sums_of
from tidemark.drift.window_statistics import BLOCK

RUN_TIMES = (1e4, 1e5, 1e6, 1e7)  # predictions
SIZES = (1000, 5000)  # rows of a reference
REFERENCES = 10


class NewRows:
    """Streams of independent predictions.

    Parameters
    ----------
    block_rows : float32 (n, columns of a block sum)
        Block rows of rows that the reference does not hold.
    """

    def __init__(self, block_rows: NDArray[np.float32], rng: np.random.Generator) -> None:
        self._rows, self._rng = block_rows, rng

    def streams(self, count: int, length: int) -> NDArray[np.float32]:
        """Return block sums (count, length, columns)."""
        drawn = self._rng.integers(0, len(self._rows), count * length * BLOCK)
        return sums_of(self._rows, drawn, BLOCK).reshape(count, length, -1)


def run(world: World) -> None:
    """Print the rates of false alarms over those asked for: their mean, and each reference's."""
    arrays = world.arrays(world.images)
    for n in SIZES:
        n = min(n, len(world.labels) // 3)
        ratios = np.array([_ratios(world, arrays, n, seed) for seed in range(REFERENCES)])
        print(f"references of {n} rows: false alarms over those asked for")
        for index, run_time in enumerate(RUN_TIMES):
            each = np.sort(ratios[:, index])
            listed = ", ".join(f"{ratio:.2f}" for ratio in each)
            print(
                f"run time {run_time:.0e}: mean {each.mean():.2f}, ninth tenth {np.quantile(each, 0.9):.2f}: {listed}"
            )


def as_endless_traffic(new_rows: NDArray[np.float32], reference_rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows (N, columns) whose mean is as far from the reference's (n, columns) as that of endless traffic.

    N rows are a sample as well: their mean differs from the reference's by 1/n + 1/N in units of the variance, endless
    traffic's by 1/n. Streams drawn from them would alarm for the difference: with n = 5,000 and N = 15,000 windows of
    2,560 predictions vary a tenth more, which is two nats of twenty.
    """
    n, remaining = len(reference_rows), len(new_rows)
    gap = reference_rows.mean(axis=0, dtype=np.float64) - new_rows.mean(axis=0, dtype=np.float64)
    return np.asarray(new_rows + gap * (1 - np.sqrt(remaining / (remaining + n))), dtype=np.float32)


def _ratios(world: World, arrays: dict[str, NDArray[np.float32]], n: int, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(world.labels))
    subsample = reference(rows(arrays, order[:n]), world.labels[order[:n]])
    scores = DetectorScores(subsample)
    calibration = calibrate(scores, seed)
    new_rows = scores.widen(scores(subsample.check(**rows(arrays, order[n:]))))
    traffic = NewRows(as_endless_traffic(new_rows, scores.widen(scores.of_reference)), rng)
    thresholds = [calibration.threshold(run_time) for run_time in RUN_TIMES]
    lowest = float(np.quantile(calibration.maxima, 0.7))
    tail = estimate_tail(StreamSimulator(scores, calibration, traffic), lowest, max(thresholds), rng)
    return [tail.false_alarm_rate(limit) * run_time for limit, run_time in zip(thresholds, RUN_TIMES, strict=True)]
