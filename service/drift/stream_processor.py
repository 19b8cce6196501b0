"""Processes the score rows of one stream: repeats, blocks of ten, their evidence, and the first alarm."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from .change_point import ChangePoint
from .daily_cycle import DailyCycle
from .detector_calibration import DetectorCalibration
from .detector_state import DetectorState
from .overdispersion import Overdispersion
from .score_sums import ScoreSums
from .scores import DetectorScores
from .stream_evidence import StreamEvidence
from .stream_repeats import RecentRepeats, RepeatAlarm, joined_keys
from .types import Float32Array, IntArray
from .views import Leading
from .window_statistics import BLOCK, COARSE

CHUNK = 64  # blocks processed at once, which bounds the memory


class StreamProcessor:
    """The state of one stream, and how predictions change it.

    The state after some predictions does not depend on the steps in which they were processed, bit for bit.

    Parameters
    ----------
    scores : DetectorScores
        The scores that the rows come from.
    calibration : DetectorCalibration
        Scale of the statistics.

    Attributes
    ----------
    state : DetectorState
    dispersion : Overdispersion
        How much the stream varies more than independent predictions.
    cycle : DailyCycle
        Whether the stream follows the hour of the day.
    repeats : RecentRepeats
        The recent repeats and their evidence.
    """

    def __init__(self, scores: DetectorScores, calibration: DetectorCalibration) -> None:
        self._scores, self._layout = scores, scores.layout
        self._calibrated = calibration.calibrated
        self._evidence = StreamEvidence(scores, calibration)
        starts = [group.columns.start for group in scores.groups]
        self.dispersion = Overdispersion(starts, self._layout.grouped, *scores.dispersion)
        self.cycle = DailyCycle(starts, self._layout.grouped, *scores.dispersion, calibration.size)
        self.repeats = RecentRepeats(scores.repeat_share)
        self.state = self._fresh_state(0)
        self.reset()

    def process(
        self,
        rows: Float32Array,
        expected: Float32Array | None,
        threshold: float,
        times: IntArray | None = None,
    ) -> None:
        """Process score rows (m, D) in their order, less the expected ones where there are any; alarm at the first
        evidence beyond the threshold in nats. Times (m,) in microseconds tell whether the rows follow the hour."""
        repeated, alarm = self.repeats.mark(joined_keys(rows[:, self._layout.row["key"]]), threshold)
        ends = np.arange(self.state.count + 1, self.state.count + len(rows) + 1)
        self.state.count += len(rows)
        if expected is not None:
            rows = rows - expected
        if repeated.any():
            rows, ends = rows[~repeated], ends[~repeated]
            times = None if times is None else times[~repeated]
        completing = BLOCK - 1 - len(self.state.pending)  # index of the row that completes the first block
        blocks, block_ends = self._complete_blocks(rows, ends)
        if times is not None and not self._calibrated:
            for block, time in zip(blocks, times[completing::BLOCK].tolist(), strict=False):
                self.cycle.add(time, block[: self._layout.grouped])
        if alarm is None:
            self._add_blocks(blocks, block_ends, threshold)
            return
        before = int(np.searchsorted(block_ends, alarm.at, side="right"))
        self._add_blocks(blocks[:before], block_ends[:before], threshold)
        self._take_alarm_of_repeats(alarm)
        self._add_blocks(blocks[before:], block_ends[before:], threshold)

    def reset(self) -> None:
        """Forget all evidence; the count of predictions continues."""
        self.state = self._fresh_state(self.state.count)
        self._sums = ScoreSums(self._layout.block_width, self.state.count)
        self.repeats.clear()

    def to_dict(self) -> dict[str, ArrayLike]:
        """Return everything that is stored, as arrays and scalars."""
        return (
            self.state.to_dict()
            | self._sums.state()
            | self.dispersion.state()
            | self.cycle.state()
            | self.repeats.state()
        )

    def restore(self, values: Mapping[str, ArrayLike]) -> None:
        """Continue where the object that gave `values` stopped.

        Raises
        ------
        ValueError
            The values are of other scores, or of an earlier version.
        """
        self.state = DetectorState.from_dict(values)
        self._sums.restore(values)
        self.dispersion.restore(values)
        self.cycle.restore(values)
        self.repeats.restore(values)

    def _fresh_state(self, count: int) -> DetectorState:
        return DetectorState.fresh(self._layout.row_width, len(self._scores.ratio_views), count)

    def _complete_blocks(self, rows: Float32Array, ends: IntArray) -> tuple[Float32Array, IntArray]:
        """Return the sums (b, columns) of the blocks that these rows complete, and the predictions up to the end of
        each; the rows that are left wait for the next ones."""
        if len(self.state.pending):
            rows, ends = np.concatenate([self.state.pending, rows]), np.concatenate([self.state.pending_ends, ends])
        whole = len(rows) // BLOCK * BLOCK
        self.state.pending, self.state.pending_ends = rows[whole:].copy(), ends[whole:].copy()
        sums = rows[:whole].reshape(-1, BLOCK, rows.shape[1]).sum(axis=1)
        return self._scores.widen(sums), ends[BLOCK - 1 : whole : BLOCK]

    def _add_blocks(self, blocks: Float32Array, ends: IntArray, threshold: float) -> None:
        first = 0
        while first < len(blocks):
            room = COARSE - self._sums.blocks % COARSE
            part = slice(first, min(first + min(CHUNK, room), len(blocks)))
            self._add_chunk(blocks[part], ends[part], threshold)
            first = part.stop

    def _add_chunk(self, blocks: Float32Array, ends: IntArray, threshold: float) -> None:
        """Process blocks that lie in one coarse step, and note the first whose evidence passes the threshold."""
        evidence = self._evidence.add(self.state, self._sums, blocks, ends)
        if not self._calibrated:
            for block in blocks:
                self.dispersion.add(block[: self._layout.grouped])
        alarm_blocks = np.flatnonzero(evidence.largest > threshold)
        if len(alarm_blocks) and not self.state.drift_detected:
            self.state.drift_detected = True
            self.state.leading, self.state.change = self._evidence.cause(self._sums, evidence, int(alarm_blocks[0]))

    def _take_alarm_of_repeats(self, alarm: RepeatAlarm) -> None:
        if not self.state.drift_detected:
            self.state.drift_detected = True
            self.state.leading = Leading.REPEATS
            self.state.change = ChangePoint(alarm.since, alarm.since, alarm.at)
