"""Simulated streams in control: their window statistics and CUSUMs, and the largest evidence of each epoch."""

from typing import NamedTuple

import numpy as np

from .evidence_scale import Scale, ratio_evidence, window_evidence
from .scores import DetectorScores
from .simulated_traffic import Traffic
from .types import Float32Array, FloatArray
from .window_statistics import cusums, norms, window_lengths, window_statistics

EPOCH = 200  # blocks over which a maximum is taken
EPOCHS = 3  # epochs of each simulated stream, after a burn-in of its longest window
CHUNK = 10  # streams that share one draw of the baseline's error


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
