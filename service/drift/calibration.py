"""Calibration of the sequential detector: one threshold for one expected run time, by simulation."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .blocks import block_length, stationary_bootstrap
from .scores import DetectorScores
from .window_statistics import (
    BLOCK,
    TAIL,
    Scale,
    normal_evidence,
    norms,
    ratio_evidence,
    window_evidence,
    window_lengths,
)

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

EPOCH = 200  # blocks over which a maximum is taken
EPOCHS = 3  # of each simulated stream
CHUNK = 10  # streams simulated at a time
MAX_STREAMS, MIN_STREAMS = 500, 60
BUDGET = 4.5e7  # block scores simulated in all
REDRAWN_STRETCHES = 20  # of calm traffic
# Measured (benchmarks/drift.py): fresh rows have longer tails than a finite reference's own, so that they alarm this
# much more often than the simulation, and a little more with every nat beyond it.
BEYOND_REFERENCE, BEYOND_PER_NAT = 1.1, 1.1
EXCEEDING = 0.15  # share of epochs whose maxima the tail is fitted to


class Calibration(NamedTuple):
    """What simulation told: the components' scales, and the maxima of their evidence over calm epochs."""

    scale: Scale
    maxima: Matrix  # sorted, one an epoch of EPOCH * BLOCK predictions
    margin: float = 1.0  # by which fresh traffic alarms more often than the simulation

    def threshold(self, expected_run_time: float) -> float:
        """Return the evidence that calm traffic reaches once in `expected_run_time` predictions.

        Where the maxima are too few to tell, their upper tail is taken as exponential: evidence is a logarithm of a
        tail probability, so the exponent is near one. Half the variance of the extrapolation is added, since the
        rate of false alarms is convex in the threshold.
        """
        wanted = 1 - np.exp(-EPOCH * BLOCK / (expected_run_time * self.margin))
        if wanted >= EXCEEDING:
            return float(np.quantile(self.maxima, 1 - wanted))
        start = float(np.quantile(self.maxima, 1 - EXCEEDING))
        beyond = self.maxima[self.maxima > start] - start
        steps = BEYOND_PER_NAT * float(np.log(EXCEEDING / wanted))
        return start + float(beyond.mean()) * steps + (1 + steps**2) / len(beyond) / 2

    def to_dict(self) -> dict[str, Any]:
        """Return arrays by name."""
        return {**self.scale._asdict(), "maxima": self.maxima, "margin": self.margin}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Return what `to_dict` was called on."""
        scale = Scale(**{name: np.asarray(values[name], dtype=np.float64) for name in Scale._fields})
        return cls(scale, np.asarray(values["maxima"], dtype=np.float64), float(values["margin"]))


class Independent:
    """Calm streams of independent predictions, as block sums of scores.

    Each stream draws its predictions from its own bootstrap sample of the reference, whose mean is off by what the
    reference itself is off: a double bootstrap.
    """

    def __init__(self, reference: Floats, rng: np.random.Generator) -> None:
        self._reference = reference
        self._rng = rng

    def streams(self, count: int, length: int) -> Floats:
        """Return block sums (count, length, columns) of `count` streams of `length` blocks."""
        n = len(self._reference)
        resampled = self._rng.integers(0, n, (count, n))
        drawn = self._rng.integers(0, n, (count, length * BLOCK))
        rows = np.take_along_axis(resampled, drawn, axis=1)
        return np.asarray(_sums(self._reference, rows, BLOCK).reshape(count, length, -1))


class Dependent:
    """Calm streams like traffic that was declared calm: a stationary block bootstrap of it, moved to the reference's
    mean and off by the reference's own error."""

    def __init__(self, reference: Floats, calm: Floats, block: int, rng: np.random.Generator) -> None:
        self._reference = reference
        self._calm = calm
        self._block = block
        self._rng = rng
        self._shift = reference.mean(axis=0, dtype=np.float64) - calm.mean(axis=0, dtype=np.float64)

    def streams(self, count: int, length: int) -> Floats:
        """Return block sums (count, length, columns) of `count` streams of `length` blocks."""
        n = len(self._reference)
        rows = stationary_bootstrap(len(self._calm), length * BLOCK, self._block, count, self._rng, BLOCK)
        sums = _sums(self._calm, rows, BLOCK).reshape(count, length, -1)
        error = _sums(self._reference, self._rng.integers(0, n, (count, n)), n) / n
        error -= self._reference.mean(axis=0)
        return np.asarray(sums + BLOCK * (self._shift + error[:, None]), dtype=np.float32)

    def again(self) -> "Dependent":
        """Return the same from another stretch of calm traffic as long, redrawn from this one in blocks."""
        n = len(self._calm)
        rows = stationary_bootstrap(n, n, self._block, 1, self._rng, BLOCK)[0]
        return Dependent(self._reference, self._calm[rows], self._block, self._rng)


def calibrate(scores: DetectorScores, reference: Floats, calm: Floats | None, seed: int) -> Calibration:
    """Simulate calm streams and scale every component, then their maximum.

    A stretch of calm traffic holds few independent bursts, so that scales fitted to it are off. Their error is part
    of the maxima: each part of them is evaluated on scales that were fitted to another stretch redrawn from it.

    Parameters
    ----------
    reference : scores of the reference (n, columns).
    calm : scores of traffic declared calm, in its own order, or None.
    """
    n = len(reference)
    rng = np.random.default_rng(seed)
    streams = int(np.clip(BUDGET / (EPOCH * EPOCHS * scores.columns), MIN_STREAMS, MAX_STREAMS))
    if calm is None:
        simulated = _simulate(Independent(reference, rng), scores, n, streams)
        scale = _scale(*simulated)
        return Calibration(scale, np.sort(_maxima(*simulated, scale)), BEYOND_REFERENCE)
    block = block_length(calm[:, _leading(calm)].astype(np.float64))
    traffic = Dependent(reference, calm, block, rng)
    scale = _scale(*_simulate(traffic, scores, n, streams))
    maxima = []
    for _ in range(REDRAWN_STRETCHES):
        other = _scale(*_simulate(traffic.again(), scores, n, streams // 4))
        maxima.append(_maxima(*_simulate(traffic, scores, n, CHUNK), other))
    return Calibration(scale, np.sort(np.concatenate(maxima)))


def _simulate(traffic: Independent | Dependent, scores: DetectorScores, n: int, streams: int) -> tuple[Floats, Floats]:
    """Return window statistics (streams, blocks, groups, scales) and CUSUMs (streams, blocks, ratios)."""
    statistics, cumulated = [], []
    for _ in range(-(-streams // CHUNK)):
        sums = scores.widen(traffic.streams(CHUNK, EPOCH * EPOCHS))
        windows = np.concatenate([*_windows(sums[..., : scores.grouped], scores, n)], axis=-1)
        windows[:, :, 0] *= scores.excess
        statistics.append(windows.astype(np.float32))
        cumulated.append(cusums(sums[..., scores.grouped :]).astype(np.float32))
    return np.concatenate(statistics), np.concatenate(cumulated)


def _maxima(windows: Floats, ratios: Floats, scale: Scale) -> Matrix:
    """Return the largest evidence of every epoch."""
    evidence = window_evidence(windows, scale).max(axis=(2, 3))
    np.maximum(evidence, ratio_evidence(ratios, scale).max(axis=2), out=evidence)
    return np.asarray(evidence.reshape(-1, EPOCH).max(axis=1))


def _sums(scores: Floats, rows: NDArray[np.int64], size: int) -> Floats:
    """Return the sums of every `size` rows in turn."""
    flat = rows.reshape(-1)
    starts = np.arange(0, len(flat) + 1, size)
    picked = sparse.csr_array((np.ones(len(flat), np.float32), flat, starts), shape=(len(starts) - 1, len(scores)))
    return np.asarray(picked @ scores)


def _windows(sums: Floats, scores: DetectorScores, n: int) -> Iterator[Matrix]:
    """Yield the quadratic forms (streams, blocks, groups, 1) of each scale in turn."""
    streams, length, columns = sums.shape
    prefix = np.zeros((streams, length + 1, columns), dtype=np.float32)
    np.cumsum(sums, axis=1, out=prefix[:, 1:])
    lengths = window_lengths(n)
    for w, norm in zip(lengths, norms(lengths, n), strict=True):
        window = np.zeros_like(sums)
        window[:, w - 1 :] = prefix[:, w:] - prefix[:, :-w]
        squares = [np.einsum("sbd,sbd->sb", part, part) for part in (window[..., g.columns] for g in scores.groups)]
        yield np.stack(squares, axis=-1)[..., None] * norm


def cusums(ratios: Floats) -> Matrix:
    """Return Page's CUSUM max(0, S + x) of block sums (streams, blocks, ratios) along the blocks."""
    path = np.cumsum(ratios, axis=1, dtype=np.float64)
    lowest = np.minimum(np.minimum.accumulate(path, axis=1), 0)
    return np.asarray(path - lowest)


def _scale(windows: Floats, ratios: Floats) -> Scale:
    shape = windows.shape[2:]
    mean, deviation, start, slope = (np.empty(shape) for _ in range(4))
    for group in range(shape[0]):
        for index in range(shape[1]):
            values = windows[:, 2 ** (index + 1) - 1 :, group, index].ravel().astype(np.float64)
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
