"""How rarely a detector alarms in control: importance splitting of simulated streams.

Run times of 10⁷ predictions would take a thousand times as many. Streams that reach a level of evidence are continued
several times, each with its own new predictions, so that the next level is reached by a tenth of them again; the
probability of the highest level is the product of these shares (Kahn and Harris 1951; Cérou and Guyader 2007,
Adaptive multilevel splitting for rare event analysis, Stochastic Analysis and Applications 25).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemark.drift import DetectorScores
from tidemark.drift.detector_calibration import DetectorCalibration
from tidemark.drift.evidence_scale import ratio_evidence, window_evidence
from tidemark.drift.simulated_traffic import Traffic
from tidemark.drift.window_statistics import BLOCK, norms, window_lengths, window_statistics

HORIZON = 600  # blocks of one stream
STREAMS = 400  # streams of one stage
AT_A_TIME = 10  # streams that are simulated together, which bounds the memory
LEVEL_STEP = 2.0  # nats between levels: about a seventh of the streams at one reach the next

Array = NDArray[np.float64]


class Streams(NamedTuple):
    """Streams at one time each."""

    block_sums: NDArray[np.float32]  # (streams, blocks of the longest window, columns), the newest block sums
    cumulated: Array  # (streams, ratios), the CUSUMs
    time: NDArray[np.int64]  # (streams,), blocks since the start
    evidence: Array  # (streams,), in nats

    def rows(self, index: NDArray[np.int64]) -> "Streams":
        """Return the streams at `index`."""
        return Streams(self.block_sums[index], self.cumulated[index], self.time[index], self.evidence[index])


class TailEstimate(NamedTuple):
    """The probabilities that the largest evidence of a stream of `HORIZON` blocks exceeds some levels."""

    levels: Array  # ascending, in nats
    probabilities: Array

    def false_alarm_rate(self, threshold: float) -> float:
        """Return the alarms a prediction at a threshold between the levels."""
        probability = np.exp(np.interp(threshold, self.levels, np.log(np.maximum(self.probabilities, 1e-300))))
        return float(-np.log1p(-min(probability, 1 - 1e-12)) / (HORIZON * BLOCK))


class StreamSimulator:
    """Continues streams of one detector and follows their evidence.

    Parameters
    ----------
    scores, calibration : DetectorScores
        Scores and calibration of the detector.
    traffic : Traffic
        Traffic in control, all of it with one error of the baseline.
    """

    def __init__(self, scores: DetectorScores, calibration: DetectorCalibration, traffic: Traffic) -> None:
        self._groups, self._grouped = scores.groups, scores.layout.grouped
        self._scale, self._traffic = calibration.scale, traffic
        self._lengths = window_lengths(calibration.size)
        self._norms = norms(self._lengths, calibration.size)
        self._memory = int(self._lengths[-1])

    def start(self, count: int) -> Streams:
        """Return streams in control that have run for the longest window."""
        block_sums = self._traffic.streams(count, self._memory)
        cumulated = np.zeros((count, block_sums.shape[2] - self._grouped))
        for index in range(self._memory):
            cumulated = np.maximum(cumulated + block_sums[:, index, self._grouped :], 0)
        return Streams(block_sums, cumulated, np.zeros(count, dtype=np.int64), np.full(count, -np.inf))

    def reach(self, streams: Streams, level: float) -> Streams:
        """Continue streams to their horizon; return those that exceed the level, as they were when they first did."""
        is_above = streams.evidence > level
        rest = streams.rows(np.flatnonzero(~is_above))
        if not len(rest.time):
            return streams
        sums = np.concatenate([rest.block_sums, self._traffic.streams(len(rest.time), HORIZON)], axis=1)
        parts = window_statistics(sums[..., : self._grouped], self._groups, self._lengths, self._norms, self._memory)
        of_windows = window_evidence(np.concatenate([*parts], axis=-1), self._scale).max(axis=(2, 3))
        path = np.cumsum(sums[:, self._memory :, self._grouped :], axis=1, dtype=np.float64)
        path += rest.cumulated[:, None]
        cumulated = path - np.minimum(np.minimum.accumulate(path, axis=1), 0)
        evidence = np.maximum(of_windows, ratio_evidence(cumulated, self._scale).max(axis=2))
        evidence[np.arange(HORIZON) >= (HORIZON - rest.time)[:, None]] = -np.inf
        exceeding = np.flatnonzero((evidence > level).any(axis=1))
        first = (evidence > level).argmax(axis=1)
        block_sums = [sums[row, first[row] + 1 : first[row] + 1 + self._memory] for row in exceeding]
        reached = Streams(
            block_sums=np.array(block_sums, dtype=np.float32).reshape(-1, *rest.block_sums.shape[1:]),
            cumulated=cumulated[exceeding, first[exceeding]],
            time=rest.time[exceeding] + first[exceeding] + 1,
            evidence=evidence[exceeding, first[exceeding]],
        )
        return joined([streams.rows(np.flatnonzero(is_above)), reached])


def joined(parts: Sequence[Streams]) -> Streams:
    """Return all streams of the parts."""
    block_sums, cumulated, time, evidence = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Streams(block_sums, cumulated, time, evidence)


def estimate_tail(
    simulator: StreamSimulator, lowest: float, highest: float, rng: np.random.Generator, streams: int = STREAMS
) -> TailEstimate:
    """Return how probable large evidence is.

    Parameters
    ----------
    lowest, highest : float
        Nats between which the levels lie. A tenth to a half of the streams should exceed the lowest one.
    streams : int, default 400
        Streams of each stage.
    """
    levels = np.arange(lowest, highest + LEVEL_STEP, LEVEL_STEP)
    probability, probabilities = 1.0, []
    source: Streams | None = None
    for level in levels:
        reached = []
        for _ in range(streams // AT_A_TIME):
            if source is None:
                batch = simulator.start(AT_A_TIME)
            else:
                batch = source.rows(rng.integers(0, len(source.time), AT_A_TIME))
            reached.append(simulator.reach(batch, level))
        source = joined(reached)
        probability *= len(source.time) / (streams // AT_A_TIME * AT_A_TIME)
        probabilities.append(probability)
        if not len(source.time):
            break
    return TailEstimate(levels[: len(probabilities)], np.array(probabilities))
