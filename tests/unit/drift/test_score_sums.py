"""Running sums: every window's sum is the sum of its blocks, also after the buffer was moved and after a restart."""

import numpy as np
import pytest

from tidemark.drift.score_sums import CAPACITY, ScoreSums
from tidemark.drift.window_statistics import COARSE, LONGEST

LENGTHS = np.array([2, 16, LONGEST])


def fed(blocks: np.ndarray, start: int = 0) -> tuple[ScoreSums, int]:
    sums, steps = ScoreSums(blocks.shape[1], start), 0
    for first in range(0, len(blocks), 32):
        part = blocks[first : first + 32]
        steps += sums.add(part, start + 10 * (first + 1 + np.arange(len(part))))
    return sums, steps


def test_window_sums_after_the_buffer_was_moved() -> None:
    blocks = np.random.default_rng(0).normal(size=(3 * CAPACITY + 64, 5)).astype(np.float32)
    sums, steps = fed(blocks)
    assert steps == len(blocks) // COARSE
    window_sums = sums.window_sums(3, LENGTHS, 4)
    for back in range(3):
        end = len(blocks) - 2 + back
        expected = [blocks[end - w : end, :4].sum(axis=0, dtype=np.float64) for w in LENGTHS]
        np.testing.assert_allclose(window_sums[back], expected, atol=1e-6)


def test_long_windows_are_sums_of_coarse_steps() -> None:
    blocks = np.random.default_rng(1).normal(size=(20 * COARSE, 3)).astype(np.float32)
    sums, _ = fed(blocks)
    steps = np.array([4, 8, 16])
    expected = [blocks[-w * COARSE :].sum(axis=0, dtype=np.float64) for w in steps]
    np.testing.assert_allclose(sums.long_window_sums(steps, 3), expected, atol=1e-6)


@pytest.mark.parametrize("back", [0, 5])
def test_the_path_leads_back_from_the_newest_block_to_the_start(back: int) -> None:
    blocks = np.random.default_rng(2).normal(size=(10 * COARSE + 40, 2)).astype(np.float32)
    sums, _ = fed(blocks, start=1000)
    path, since, before = sums.path(slice(0, 1), back)
    end = len(blocks) - back
    assert (np.diff(since) > 0).all()
    assert before[-1] == 1000
    np.testing.assert_array_equal(before, 1000 + 10 * (end - since))
    np.testing.assert_allclose(path[:, 0], [blocks[end - w : end, 0].sum(dtype=np.float64) for w in since], atol=1e-6)


def test_a_restored_object_continues_bit_for_bit() -> None:
    blocks = np.random.default_rng(3).normal(size=(700, 4)).astype(np.float32)
    one, _ = fed(blocks)
    other = ScoreSums(4, 0)
    other.restore(one.state())
    more = np.random.default_rng(4).normal(size=(20, 4)).astype(np.float32)
    for sums in (one, other):
        sums.add(more, 7000 + 10 * (1 + np.arange(20)))
    np.testing.assert_array_equal(one.window_sums(20, LENGTHS, 4), other.window_sums(20, LENGTHS, 4))
    for left, right in zip(one.path(slice(0, 4), 3), other.path(slice(0, 4), 3), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_state_of_other_columns_is_refused() -> None:
    one, _ = fed(np.ones((10, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="of another reference"):
        ScoreSums(5, 0).restore(one.state())
