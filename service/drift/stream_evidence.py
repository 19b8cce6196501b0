"""The evidence of a stream's block sums: windows of all lengths, and CUSUMs of log-likelihood ratios."""

from typing import NamedTuple

import numpy as np

from .change_point import ChangePoint, change_of_means, change_of_ratio
from .detector_calibration import DetectorCalibration
from .detector_state import DetectorState
from .evidence_scale import long_window_evidence, ratio_evidence, window_evidence
from .score_sums import ScoreSums
from .scores import DetectorScores
from .types import Float32Array, FloatArray, IntArray
from .views import Leading
from .window_statistics import COARSE, long_window_lengths, norms, quadratic, window_lengths


class BlockEvidence(NamedTuple):
    """The evidence after each of some blocks, in nats."""

    largest: FloatArray  # (blocks,) of everything
    windows: FloatArray  # (blocks, groups), the largest over window lengths
    ratios: FloatArray  # (blocks, ratios)
    zeroed: IntArray  # (blocks, ratios), predictions before each CUSUM was last zero
    long_windows: FloatArray  # (blocks,), of the longer windows at the last coarse step
    long_groups: IntArray  # (blocks,), the group that has it


class StreamEvidence:
    """Follows all statistics of one stream, and tells what carries the evidence.

    Parameters
    ----------
    scores : DetectorScores
        DetectorScores that the block sums are of.
    calibration : DetectorCalibration
        Scale of the statistics.
    """

    def __init__(self, scores: DetectorScores, calibration: DetectorCalibration) -> None:
        self._scores, self._scale = scores, calibration.scale
        self._grouped = scores.layout.grouped
        self._starts = [group.columns.start for group in scores.groups]
        size = calibration.size
        self._lengths, self._steps = window_lengths(size), long_window_lengths(size)
        self._norms, self._long_norms = norms(self._lengths, size), norms(self._steps * COARSE, size)

    def add(self, state: DetectorState, sums: ScoreSums, blocks: Float32Array, ends: IntArray) -> BlockEvidence:
        """Add block sums to the state and the running sums, and return the evidence after each.

        Parameters
        ----------
        blocks : float32 (b, columns)
            Sums of blocks that do not go beyond the end of a coarse step.
        ends : int64 (b,)
            Predictions up to the end of each block.
        """
        completed = sums.add(blocks, ends)
        cumulated = np.empty((len(blocks), len(state.cumulated)))
        zeroed = np.empty_like(cumulated, dtype=np.int64)
        for index, ratios in enumerate(blocks[:, self._grouped :]):
            state.cumulated += ratios
            state.since[state.cumulated <= 0] = ends[index]
            np.maximum(state.cumulated, 0, out=state.cumulated)
            cumulated[index], zeroed[index] = state.cumulated, state.since
        of_ratios = ratio_evidence(cumulated, self._scale)
        of_windows = self._window_evidence(sums, len(blocks))
        long_windows = np.full(len(blocks), state.long_evidence)
        long_groups = np.full(len(blocks), state.long_group, dtype=np.int64)
        if completed:
            self._update_long_evidence(state, sums)
            long_windows[-1], long_groups[-1] = state.long_evidence, state.long_group
        largest = np.maximum(np.maximum(of_windows.max(axis=1), of_ratios.max(axis=1)), long_windows)
        state.evidence = max(float(largest[-1]), 0.0)
        return BlockEvidence(largest, of_windows, of_ratios, zeroed, long_windows, long_groups)

    def cause(self, sums: ScoreSums, evidence: BlockEvidence, at: int) -> tuple[Leading, ChangePoint]:
        """Return what carries the evidence after block `at` of those just added, and when it changed."""
        back = len(evidence.largest) - 1 - at
        windows, ratios, long_windows = evidence.windows[at], evidence.ratios[at], evidence.long_windows[at]
        if ratios.max() >= max(windows.max(), long_windows):
            ratio = int(ratios.argmax())
            zeroed = int(evidence.zeroed[at, ratio])
            return self._scores.ratio_views[ratio], change_of_ratio(sums, self._grouped + ratio, zeroed, back)
        number = windows.argmax() if windows.max() >= long_windows else evidence.long_groups[at]
        group = self._scores.groups[int(number)]
        return group.leading, change_of_means(sums, group.columns, back)

    def _window_evidence(self, sums: ScoreSums, new: int) -> FloatArray:
        """Return the largest evidence (new, groups) over windows that end at each of the newest blocks."""
        statistics = quadratic(sums.window_sums(new, self._lengths, self._grouped), self._starts, self._norms)
        evidence = window_evidence(statistics, self._scale)
        blocks_so_far = sums.blocks - new + 1 + np.arange(new)
        too_long = self._lengths > blocks_so_far[:, None]
        if too_long.any():
            evidence[np.broadcast_to(too_long[:, None], evidence.shape)] = 0
        return np.asarray(evidence.max(axis=2))

    def _update_long_evidence(self, state: DetectorState, sums: ScoreSums) -> None:
        steps = self._steps[self._steps <= sums.blocks // COARSE]
        if not len(steps):
            return
        window_sums = sums.long_window_sums(steps, self._grouped)
        statistics = quadratic(window_sums[None], self._starts, self._long_norms[: len(steps)])[0]
        evidence = long_window_evidence(statistics, self._scale).max(axis=1)
        state.long_evidence, state.long_group = float(evidence.max()), int(evidence.argmax())
