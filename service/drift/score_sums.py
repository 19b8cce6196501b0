"""The recent past of a stream as running sums, from which the sum over any of its windows is one difference."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from .types import Float32Array, FloatArray, IntArray
from .window_statistics import COARSE, COARSE_STEPS, LONGEST

CAPACITY = 2 * LONGEST  # rows of the buffer of running sums: the longest window, and as many new blocks


class ScoreSums:
    """Running sums over the last 256 blocks, and at every 128th block over the last 32,768.

    Sums are float64: after 10⁹ predictions a window's sum is still right to 10⁻⁶ of a score.

    Parameters
    ----------
    columns : int
        Columns of a block sum.
    count : int
        Predictions before the first block.
    """

    def __init__(self, columns: int, count: int) -> None:
        self.blocks = 0  # number of blocks since the start
        self.start = count
        self._prefix = np.zeros((CAPACITY + 1, columns))  # row `_last` is the sum up to the last block
        self._ends = np.full(CAPACITY + 1, count, dtype=np.int64)  # predictions before the end of each row's block
        self._last = 0
        self._coarse = np.zeros((COARSE_STEPS + 1, columns))  # sums at every 128th block, by step modulo its rows
        self._coarse_ends = np.full(COARSE_STEPS + 1, count, dtype=np.int64)

    def add(self, blocks: Float32Array, ends: IntArray) -> bool:
        """Add at most 256 block sums (b, columns), and the predictions at the end of each; return whether a coarse
        step was completed. Blocks must not go beyond the end of a coarse step."""
        if self._last + len(blocks) > CAPACITY:
            recent = slice(self._last - LONGEST, self._last + 1)
            self._prefix[: LONGEST + 1], self._ends[: LONGEST + 1] = (
                self._prefix[recent].copy(),
                self._ends[recent].copy(),
            )
            self._last = LONGEST
        rows = slice(self._last + 1, self._last + 1 + len(blocks))
        self._prefix[rows] = blocks
        np.cumsum(self._prefix[self._last : rows.stop], axis=0, out=self._prefix[self._last : rows.stop])
        self._ends[rows] = ends
        self._last += len(blocks)
        self.blocks += len(blocks)
        if self.blocks % COARSE or not len(blocks):
            return False
        slot = self.blocks // COARSE % len(self._coarse)
        self._coarse[slot], self._coarse_ends[slot] = self._prefix[self._last], self._ends[self._last]
        return True

    def window_sums(self, new: int, lengths: IntArray, grouped: int) -> FloatArray:
        """Return the sums (new, lengths, grouped) over windows that end at each of the last `new` blocks; those longer
        than the past are not meaningful."""
        at = np.arange(self._last - new + 1, self._last + 1)
        before = np.maximum(at[:, None] - lengths, 0)
        return np.asarray(self._prefix[at, None, :grouped] - self._prefix[before, :grouped])

    def long_window_sums(self, steps: IntArray, grouped: int) -> FloatArray:
        """Return the sums (steps, grouped) over the last coarse steps."""
        now = self.blocks // COARSE
        return np.asarray(
            self._coarse[now % len(self._coarse), :grouped] - self._coarse[(now - steps) % len(self._coarse), :grouped]
        )

    def path(self, columns: slice, back: int) -> tuple[FloatArray, IntArray, IntArray]:
        """Return what dates a change: for earlier points, newest first, the sums (points, columns) since then, the
        blocks since then, and the predictions before then; all as they were `back` blocks before the last one."""
        last = self._last - back
        first = max(last - min(self.blocks - back, LONGEST), 0)
        sums = self._prefix[last, columns] - self._prefix[first:last, columns][::-1]
        ends = self._ends[first:last][::-1]
        now = (self.blocks - back) // COARSE
        steps = np.arange(max(now - COARSE_STEPS + 1, 0), now + 1)[::-1]
        steps = steps[self._coarse_ends[steps % len(self._coarse)] < self._ends[first]]
        slots = steps % len(self._coarse)
        older = self._prefix[last, columns] - self._coarse[slots][:, columns]
        since = np.arange(1, len(sums) + 1)
        long_since = self.blocks - back - steps * COARSE
        return (
            np.concatenate([sums, older]),
            np.concatenate([since, long_since]),
            np.concatenate([ends, self._coarse_ends[slots]]),
        )

    def state(self) -> dict[str, ArrayLike]:
        """Return everything that is known, as arrays and scalars."""
        recent = slice(max(self._last - LONGEST, 0), self._last + 1)
        return {
            "sum_blocks": self.blocks,
            "sum_start": self.start,
            "sums": self._prefix[recent],
            "sum_ends": self._ends[recent],
            "coarse_sums": self._coarse[: self.blocks // COARSE + 1],
            "coarse_ends": self._coarse_ends[: self.blocks // COARSE + 1],
        }

    def restore(self, state: Mapping[str, ArrayLike]) -> None:
        """Continue where the object that gave `state` stopped.

        Raises
        ------
        ValueError
            The state is of other columns.
        """
        sums, coarse = np.asarray(state["sums"]), np.asarray(state["coarse_sums"])
        if sums.ndim != 2 or sums.shape[1] != self._prefix.shape[1]:
            columns = f"sums are {sums.shape}, expected (blocks, {self._prefix.shape[1]})"
            raise ValueError(f"the state is of another reference: {columns}")
        self.blocks, self.start, self._last = (
            int(np.asarray(state["sum_blocks"])),
            int(np.asarray(state["sum_start"])),
            len(sums) - 1,
        )
        self._prefix[: len(sums)], self._ends[: len(sums)] = sums, state["sum_ends"]
        self._coarse[: len(coarse)], self._coarse_ends[: len(coarse)] = coarse, state["coarse_ends"]
