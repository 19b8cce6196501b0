"""Calibration of the sequential detector: one threshold for one expected run time, by simulation."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from .blocks import block_length
from .context import ContextModel
from .scores import DetectorScores
from .simulation import DependentStreams, IndependentStreams, Traffic
from .types import Float32Array, FloatArray, IntArray
from .window_statistics import (
    BLOCK,
    TAIL,
    Scale,
    cusums,
    normal_evidence,
    norms,
    ratio_evidence,
    window_evidence,
    window_lengths,
    window_statistics,
)

EPOCH = 200  # blocks over which a maximum is taken
EPOCHS = 3  # epochs of each simulated stream, after a burn-in of its longest window
CHUNK = 10  # streams that share one draw of the baseline's error
MAX_CHUNKS, MIN_CHUNKS = 48, 16  # draws of the baseline's error
BUDGET = 9e7  # block scores simulated in all
CALM_CHUNKS = 16  # the same for traffic declared calm, where each of the redrawn stretches is simulated as well
REDRAWN_STRETCHES = 16  # stretches of calm traffic whose scales stand for another user's
STRETCH_CHUNKS = 4  # of each of them
PROMISED_SHARE = 0.9  # share of references whose run time is at least the requested one
FRESH_RATIO = 1.4  # times as often new rows alarm as a finite reference's own; measured by benchmarks/tails.py
EXCEEDING = 0.15  # share of epochs whose maxima the tail is fitted to
LEAST_DEVIATION = 1e-9  # smallest standard deviation of a component: a constant one is evidence once it varies
CONSTANT_START = 1e3  # nats of normal evidence from which a component that was constant counts
COMPONENT_WEIGHT = 50.0  # independent exceedances that the theoretical tail of a component counts as
RATIO_MEMORY = 64.0  # blocks after which a CUSUM has forgotten its past, about
THEORY_WEIGHT = 50.0  # maxima that the theoretical slope of the tail, one nat per nat, counts as


class DetectorCalibration(NamedTuple):
    """The result of the simulation: the components' scales, and the maxima of their evidence over epochs in control."""

    scale: Scale
    maxima: FloatArray  # (draws of the baseline, epochs of EPOCH x BLOCK predictions)
    size: int  # predictions that the baseline's mean was estimated from
    context: ContextModel | None = None
    calibrated: bool = False  # on traffic that was declared calm

    def threshold(self, expected_run_time: float) -> float:
        """Return the evidence that nine references of ten reach at most once in `expected_run_time` predictions.

        Evidence is a logarithm of a tail probability, so that beyond the simulated epochs the threshold rises by one
        nat per nat of the run time; the slope fitted to the largest maxima is shrunk to that. A reference that is off
        makes all tails heavier by a factor on their exponent, so that thresholds differ between references in
        proportion to their height. The factor's spread is estimated from the mean maxima of the draws of the
        baseline, less what their finite number of epochs adds.

        References
        ----------
        Gandy and Kvaloy (2013), Guaranteed conditional performance of control charts via bootstrap methods,
        Scandinavian Journal of Statistics 40.
        """
        usual, excess = self._usual_draws()
        maxima = np.sort(usual, axis=None)
        wanted = -np.expm1(-EPOCH * BLOCK / (expected_run_time * FRESH_RATIO))
        if wanted >= EXCEEDING:
            typical = float(np.quantile(maxima, 1 - wanted))
        else:
            start = float(np.quantile(maxima, 1 - EXCEEDING))
            beyond = maxima[maxima > start] - start
            slope = (beyond.sum() + THEORY_WEIGHT) / (len(beyond) + THEORY_WEIGHT)
            typical = start + float(slope * np.log(EXCEEDING / wanted))
        return typical * (1 + excess / float(maxima.mean()))

    def _usual_draws(self) -> tuple[FloatArray, float]:
        """Return the maxima (draws, epochs) of the `PROMISED_SHARE` of draws with the lowest, each moved to the median
        draw's level, and by how many nats the last of these draws exceeds the median one.

        Both are shrunk by what the finite number of epochs adds to the differences between draws.
        """
        means = self.maxima.mean(axis=1)
        low, median, high = np.quantile(means, [0.25, 0.5, 0.75])
        noise = float(np.median(self.maxima.var(axis=1, ddof=1))) / self.maxima.shape[1]
        total = max(float((high - low) / (ndtri(0.75) - ndtri(0.25))) ** 2, 1e-12)
        reliability = max(1 - noise / total, 0.0)
        last = float(np.quantile(means, PROMISED_SHARE))
        usual = means <= last
        moved = self.maxima[usual] - reliability * (means[usual] - median)[:, None]
        return np.asarray(moved), float(np.sqrt(reliability) * (last - median))

    def to_dict(self) -> dict[str, Any]:
        """Return arrays by name."""
        context = {} if self.context is None else {f"context_{k}": v for k, v in self.context._asdict().items()}
        return {
            **self.scale._asdict(),
            "maxima": self.maxima,
            "size": self.size,
            "calibrated": self.calibrated,
            **context,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DetectorCalibration":
        """Return what `to_dict` was called on."""
        scale = Scale(**{name: np.asarray(values[name], dtype=np.float64) for name in Scale._fields})
        context = None
        if "context_location" in values:
            context = ContextModel(
                *(np.asarray(values[f"context_{name}"], dtype=np.float64) for name in ContextModel._fields)
            )
        maxima = np.asarray(values["maxima"], dtype=np.float64)
        return cls(scale, maxima, int(values["size"]), context, bool(values["calibrated"]))


def calibrate(scores: DetectorScores, seed: int) -> DetectorCalibration:
    """Simulate streams like the reference and scale every component; then take maxima on other streams, since on the
    same ones the scales fit too well.

    The rows of an accepted baseline are traffic in its own order, so that they are simulated as such.
    """
    rng = np.random.default_rng(seed)
    n = len(scores.reference)
    rows = scores.widen(scores.of_reference)
    if scores.reference.is_traffic:
        sums = _block_sums(rows)
        block = _mean_block(rows)
        if block > 1:
            return _calibrate_dependent(scores, n, DependentStreams(sums, block, rng), None)
    columns = scores.layout.block_width
    length = EPOCH * EPOCHS + int(window_lengths(n)[-1])
    chunks = int(np.clip(BUDGET / (CHUNK * length * columns), MIN_CHUNKS, MAX_CHUNKS))
    traffic = IndependentStreams(rows, rng)
    scale = _scale([simulate(traffic, scores, n) for _ in range(chunks // 2)])
    return DetectorCalibration(
        scale, np.stack([epoch_maxima(simulate(traffic, scores, n), scale) for _ in range(chunks)]), n
    )


def calibrate_calm(
    scores: DetectorScores, calm: Float32Array, context: FloatArray | None, seed: int
) -> DetectorCalibration:
    """Simulate streams like traffic that was declared calm.

    Without a context the baseline stays the reference's mean: calm traffic is moved to it, and the reference's own
    error is part of the null. With one, the baseline is what the regression of calm traffic on its context expects.

    Parameters
    ----------
    calm : float32 (n, columns of a row), scores of the calm traffic in its own order.
    context : float64 (n, c), its covariates, default None.
    """
    rng = np.random.default_rng(seed)
    expected = scores.of_reference.mean(axis=0, dtype=np.float64).astype(np.float32)
    model = None
    if context is None:
        calm = calm - calm.mean(axis=0, dtype=np.float64).astype(np.float32) + expected
        traffic = DependentStreams(
            _block_sums(scores.widen(calm)),
            _mean_block(scores.widen(calm)),
            rng,
            reference=scores.widen(scores.of_reference),
        )
        size = len(scores.reference)
    else:
        model = ContextModel.fit(context, calm - expected)
        rows = scores.widen(calm - model.expected(context))
        blocks = len(context) // BLOCK
        means = context[: blocks * BLOCK].reshape(blocks, BLOCK, -1).mean(axis=1)
        traffic = DependentStreams(_block_sums(rows), _mean_block(rows), rng, context=means)
        size = len(calm)
    return _calibrate_dependent(scores, size, traffic, model)


def _calibrate_dependent(
    scores: DetectorScores, n: int, traffic: DependentStreams, context: ContextModel | None
) -> DetectorCalibration:
    """Scale and take maxima on streams of calm traffic.

    A stretch of calm traffic holds few independent bursts, so that scales fitted to it are off. Their error is part
    of the maxima: each part of them is evaluated on scales that were fitted to another stretch redrawn from it.
    """
    scale = _scale([simulate(traffic, scores, n) for _ in range(CALM_CHUNKS)])
    maxima = []
    for _ in range(REDRAWN_STRETCHES):
        stretch = traffic.redrawn()
        other = _scale([simulate(stretch, scores, n) for _ in range(STRETCH_CHUNKS)])
        maxima.append(epoch_maxima(simulate(traffic, scores, n), other))
    return DetectorCalibration(scale, np.stack(maxima), n, context, calibrated=True)


class Simulated(NamedTuple):
    windows: Float32Array  # (streams, blocks, groups, scales)
    ratios: Float32Array  # (streams, blocks, ratios)


def simulate(traffic: Traffic, scores: DetectorScores, n: int) -> Simulated:
    """Return window statistics and CUSUMs of streams that share one draw of the baseline's error."""
    lengths = window_lengths(n)
    first = int(lengths[-1])
    sums = traffic.streams(CHUNK, first + EPOCH * EPOCHS)
    grouped = scores.layout.grouped
    norm = norms(lengths, n)
    windows = np.concatenate([*window_statistics(sums[..., :grouped], scores.groups, lengths, norm, first)], axis=-1)
    windows[:, :, 0] *= scores.excess
    ratios = cusums(sums[..., grouped:])[:, first:]
    return Simulated(windows.astype(np.float32), ratios.astype(np.float32))


def epoch_maxima(simulated: Simulated, scale: Scale) -> FloatArray:
    """Return the largest evidence of every epoch (streams x epochs,).

    Evidence rises with its statistic, so that each component's largest value of an epoch is enough.
    """
    windows, ratios = (values.reshape(-1, EPOCH, *values.shape[2:]).max(axis=1) for values in simulated)
    largest = window_evidence(windows, scale).max(axis=(1, 2)), ratio_evidence(ratios, scale).max(axis=1)
    return np.asarray(np.maximum(*largest))


def _block_sums(rows: Float32Array) -> Float32Array:
    whole = len(rows) // BLOCK * BLOCK
    return np.asarray(rows[:whole].reshape(-1, BLOCK, rows.shape[1]).sum(axis=1))


def _mean_block(rows: Float32Array) -> float:
    """Return the mean block length of traffic (n, columns) in blocks of ten rows, at least 1."""
    return max(block_length(rows[:, _leading(rows)].astype(np.float64)) / BLOCK, 1.0)


def _scale(simulated: list[Simulated]) -> Scale:
    shape = simulated[0].windows.shape[2:]
    mean, deviation, start, slope = (np.empty(shape) for _ in range(4))
    for group in range(shape[0]):
        for index in range(shape[1]):
            values = np.concatenate([part.windows[:, :, group, index].ravel() for part in simulated])
            roots, at = np.cbrt(values), (group, index)
            mean[at] = roots.mean(dtype=np.float64)
            deviation[at] = max(float(roots.std(dtype=np.float64)), LEAST_DEVIATION)
            quantile, beyond = _exceedances(values)
            start[at] = normal_evidence(quantile, mean[at], deviation[at])
            excess = normal_evidence(beyond, mean[at], deviation[at]) - start[at]
            slope[at] = _slope(excess, len(values) / 2 ** (index + 1))
            if deviation[at] <= LEAST_DEVIATION:
                start[at] = CONSTANT_START
    ratio_start, ratio_slope = np.empty((2, simulated[0].ratios.shape[2]))
    for column in range(len(ratio_start)):
        values = np.concatenate([part.ratios[:, :, column].ravel() for part in simulated])
        quantile, beyond = _exceedances(values)
        ratio_start[column], ratio_slope[column] = quantile, _slope(beyond - quantile, len(values) / RATIO_MEMORY)
    return Scale(mean, deviation, start, slope, ratio_start, ratio_slope)


def _exceedances(values: Float32Array) -> tuple[FloatArray, FloatArray]:
    """Return the TAIL quantile of values, and the values beyond it."""
    quantile = np.asarray(np.quantile(values, TAIL), dtype=np.float64)
    return quantile, values[values > quantile].astype(np.float64)


def _slope(excess: FloatArray, independent: float) -> float:
    """Return the mean excess beyond the TAIL quantile, shrunk to the theoretical one nat.

    Window statistics are normal on their scale, and for a log-likelihood ratio E exp(x) = 1, so that both tails fall
    by one nat per nat. Of values that depend on each other only `independent` tell anything about it: without the
    shrinkage the maximum over components would select those whose excess was underestimated.
    """
    if not len(excess) or excess.mean() <= 1e-9:
        return 1.0
    weight = independent * (1 - TAIL)
    return float((weight * excess.mean() + COMPONENT_WEIGHT) / (weight + COMPONENT_WEIGHT))


def _leading(calm: Float32Array, count: int = 32) -> IntArray:
    """Return the columns that vary most."""
    return np.asarray(np.argsort(-calm.var(axis=0), kind="stable")[:count])
