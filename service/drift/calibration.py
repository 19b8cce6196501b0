"""Calibration of the sequential detector: one threshold for one expected run time, by simulation."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from service.drift import blocks
from service.drift.scan import (
    BLOCK,
    SCALES,
    TAIL,
    Scale,
    normal_evidence,
    ratio_evidence,
    window_evidence,
)
from service.drift.scores import Scores

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

EPOCH = 200  # blocks over which a maximum is taken
EPOCHS = 3  # of each simulated stream
CHUNK = 10  # streams simulated at a time
MAX_STREAMS, MIN_STREAMS = 500, 60
BUDGET = 4.5e7  # block scores simulated in all
EXCEEDING = 0.15  # share of epochs whose maxima the tail is fitted to


class Calibration(NamedTuple):
    """What simulation told: the components' scales, and the maxima of their evidence over calm epochs."""

    scale: Scale
    maxima: Matrix  # sorted, one an epoch of EPOCH * BLOCK predictions

    def threshold(self, expected_run_time: float) -> float:
        """Return the evidence that calm traffic reaches once in `expected_run_time` predictions.

        Where the maxima are too few to tell, their upper tail is taken as exponential: evidence is a logarithm of a
        tail probability, so the exponent is near one.
        """
        epoch = EPOCH * BLOCK
        wanted = 1 - np.exp(-epoch / expected_run_time)
        if wanted >= EXCEEDING:
            return float(np.quantile(self.maxima, 1 - wanted))
        start = float(np.quantile(self.maxima, 1 - EXCEEDING))
        beyond = self.maxima[self.maxima > start] - start
        return start + float(beyond.mean()) * float(np.log(EXCEEDING / wanted))

    def to_dict(self) -> dict[str, Any]:
        """Return arrays by name."""
        return {**self.scale._asdict(), "maxima": self.maxima}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Return what `to_dict` was called on."""
        scale = Scale(**{name: np.asarray(values[name], dtype=np.float64) for name in Scale._fields})
        return cls(scale, np.asarray(values["maxima"], dtype=np.float64))


class Simulator:
    """Calm streams as block sums of scores.

    Independent traffic: each stream draws its predictions from its own bootstrap sample of the reference, whose
    mean is off by what the reference itself is off (a double bootstrap). Calm traffic, where it is given: a
    stationary block bootstrap of it, moved to the reference's mean and off by the same error.
    """

    def __init__(self, reference: Floats, calm: Floats | None, rng: np.random.Generator) -> None:
        self._reference = reference
        self._calm = calm
        self._rng = rng
        if calm is not None:
            self._block = blocks.block_length(calm[:, _leading(calm)].astype(np.float64))
            self._shift = reference.mean(axis=0, dtype=np.float64) - calm.mean(axis=0, dtype=np.float64)

    def streams(self, count: int, length: int) -> Matrix:
        """Return block sums (count, length, columns) of `count` streams of `length` blocks."""
        n = len(self._reference)
        if self._calm is None:
            resampled = self._rng.integers(0, n, (count, n))
            drawn = self._rng.integers(0, n, (count, length * BLOCK))
            rows = np.take_along_axis(resampled, drawn, axis=1)
            return self._sums(self._reference, rows).reshape(count, length, -1)
        rows = blocks.stationary_bootstrap(len(self._calm), length * BLOCK, self._block, count, self._rng)
        sums = self._sums(self._calm, rows).reshape(count, length, -1)
        error = self._sums(self._reference, self._rng.integers(0, n, (count, n)), n) / n
        error -= self._reference.mean(axis=0)
        return np.asarray(sums + BLOCK * (self._shift + error[:, None]), dtype=np.float32)

    @staticmethod
    def _sums(scores: Floats, rows: NDArray[np.int64], size: int = BLOCK) -> Floats:
        """Return the sums of every `size` rows in turn."""
        flat = rows.reshape(-1)
        starts = np.arange(0, len(flat) + 1, size)
        picked = sparse.csr_array((np.ones(len(flat), np.float32), flat, starts), shape=(len(starts) - 1, len(scores)))
        return np.asarray(picked @ scores)


def calibrate(scores: Scores, reference: Floats, calm: Floats | None, seed: int) -> Calibration:
    """Simulate calm streams and scale every component, then their maximum.

    Parameters
    ----------
    reference : scores of the reference (n, columns).
    calm : scores of traffic declared calm, in its own order, or None.
    """
    n = len(reference)
    streams = int(np.clip(BUDGET / (EPOCH * EPOCHS * reference.shape[1]), MIN_STREAMS, MAX_STREAMS))
    streams = -(-streams // CHUNK) * CHUNK
    simulator = Simulator(reference, calm, np.random.default_rng(seed))
    statistics, cumulated = [], []
    for _ in range(streams // CHUNK):
        sums = simulator.streams(CHUNK, EPOCH * EPOCHS)
        found = np.concatenate([*_windows(sums[..., : scores.grouped], scores, n)], axis=-1)
        statistics.append(found.astype(np.float32))
        cumulated.append(cusums(sums[..., scores.grouped :]).astype(np.float32))
    windows, ratios = np.concatenate(statistics), np.concatenate(cumulated)
    windows[:, :, 1] *= scores.excess
    scale = _scale(windows, ratios)
    evidence = window_evidence(windows, scale).max(axis=(2, 3))
    np.maximum(evidence, ratio_evidence(ratios, scale).max(axis=2), out=evidence)
    maxima = evidence.reshape(streams, EPOCHS, EPOCH).max(axis=2)
    return Calibration(scale, np.sort(maxima.ravel()))


def _windows(sums: Floats, scores: Scores, n: int) -> Iterator[Matrix]:
    """Yield the quadratic forms (streams, blocks, groups, 1) of each scale in turn."""
    streams, length, columns = sums.shape
    prefix = np.zeros((streams, length + 1, columns), dtype=np.float32)
    np.cumsum(sums, axis=1, out=prefix[:, 1:])
    for index, scale in enumerate(SCALES):
        window = np.zeros_like(sums)
        window[:, scale - 1 :] = prefix[:, scale:] - prefix[:, :-scale]
        w = float(scale * BLOCK)
        norm = 1 / (w**2 * (1 / w + 1 / n))
        squares = [np.einsum("sbd,sbd->sb", part, part) for part in (window[..., g.columns] for g in scores.groups)]
        yield np.stack(squares, axis=-1)[..., None] * norm


def cusums(ratios: Floats) -> Matrix:
    """Return Page's CUSUM max(0, S + x) of block sums (streams, blocks, ratios) along the blocks."""
    path = np.cumsum(ratios, axis=1, dtype=np.float64)
    lowest = np.minimum(np.minimum.accumulate(path, axis=1), 0)
    return np.asarray(path - lowest)


def _scale(windows: Floats, ratios: Floats) -> Scale:
    streams, length = windows.shape[:2]
    shape = windows.shape[2:]
    mean, deviation, start, slope = (np.empty(shape) for _ in range(4))
    for group in range(shape[0]):
        for index, scale in enumerate(SCALES):
            values = windows[:, scale - 1 :, group, index].ravel().astype(np.float64)
            roots = np.cbrt(values)
            at = (group, index)
            mean[at], deviation[at] = roots.mean(), max(float(roots.std()), 1e-9)
            start[at], slope[at] = _tail(normal_evidence(values, mean[at], deviation[at]))
    tails = [_tail(ratios[:, :, column].ravel().astype(np.float64)) for column in range(ratios.shape[2])]
    ratio_start, ratio_slope = (np.array(values) for values in zip(*tails, strict=True))
    return Scale(mean, deviation, start, slope, ratio_start, ratio_slope)


def _tail(values: Matrix) -> tuple[float, float]:
    start = float(np.quantile(values, TAIL))
    beyond = values[values > start] - start
    return start, float(beyond.mean()) if len(beyond) and beyond.mean() > 1e-9 else 1.0


def _leading(calm: Floats, count: int = 32) -> NDArray[np.int64]:
    """Return the columns that vary most."""
    return np.asarray(np.argsort(-calm.var(axis=0), kind="stable")[:count])
