"""The simulation that calibrates the sequential detector: scales of its statistics, and maxima of the evidence."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from .blocks import block_length
from .context import ContextModel, check_context
from .detector_calibration import DetectorCalibration
from .evidence_scale import Scale, fit_scale
from .learnt_slopes import LearntContext, LearntSlopes, size_with_context
from .scores import DetectorScores
from .simulated_epochs import CHUNK, EPOCH, EPOCHS, Simulated, epoch_maxima, simulate
from .simulated_traffic import DependentStreams, IndependentStreams, Traffic, UncertainSlopes
from .types import Float32Array, IntArray
from .window_statistics import BLOCK, window_lengths

MIN_CALM_ROWS = 1000  # smallest number of rows that can be declared calm
MAX_CHUNKS, MIN_CHUNKS = 48, 16  # draws of the baseline's error
BUDGET = 9e7  # block scores simulated in all
CALM_CHUNKS = 16  # draws for traffic declared calm, where each of the redrawn stretches is simulated as well
REDRAWN_STRETCHES = 16  # stretches of calm traffic whose scales stand for another user's
STRETCH_CHUNKS = 4  # draws of each of these stretches
NEVER = 1e12  # cumulated log-likelihood ratio that no stream reaches


def calibrate(
    scores: DetectorScores,
    seed: int,
    learnt: LearntContext | None = None,
    between_parts: Callable[[], None] | None = None,
) -> DetectorCalibration:
    """Simulate streams like the reference and scale every component; then take maxima on other streams, since on the
    same ones the scales fit too well.

    The rows of an accepted baseline are traffic in its own order, so that they are simulated as such.

    Parameters
    ----------
    learnt : LearntContext, default None
        What the context lets expect, where other traffic tells it.
    between_parts : callable, default None
        Called after each draw of the baseline's error.

    Raises
    ------
    ValueError
        As `Reference.check` for the traffic that the context was learnt from; a context that does not fit.
    """
    rng = np.random.default_rng(seed)
    n, of_reference = scores.size, scores.of_reference
    slopes = None if learnt is None else LearntSlopes.fit(scores, learnt)
    if slopes is not None:
        of_reference = of_reference - slopes.of_reference
        n = size_with_context(n, slopes.calm_rows, len(slopes.model.location))
    model = None if slopes is None else slopes.model
    # How often a cycle takes an image far out depends on the level, so that traffic of another level does not tell.
    unused = 0 if slopes is None else scores.outlying_ratios
    rows = scores.widen(of_reference)
    if scores.reference.is_traffic:
        sums = _block_sums(rows)
        block = _mean_block(rows)
        if block > 1:
            dependent = DependentStreams(sums, block, rng)
            uncertain = slopes.uncertain(scores, dependent, rng) if slopes else dependent
            return _calibrate_dependent(scores, n, uncertain, model, unused, between_parts)
    columns = scores.layout.block_width
    length = EPOCH * EPOCHS + int(window_lengths(n)[-1])
    chunks = int(np.clip(BUDGET / (CHUNK * length * columns), MIN_CHUNKS, MAX_CHUNKS))
    independent = IndependentStreams(rows, rng, n)
    traffic = slopes.uncertain(scores, independent, rng) if slopes else independent
    scale = _scale([*_simulated(traffic, scores, n, chunks // 2, between_parts)], unused)
    maxima = [epoch_maxima(part, scale) for part in _simulated(traffic, scores, n, chunks, between_parts)]
    return DetectorCalibration(scale, np.stack(maxima), n, model)


def calibrate_calm(
    scores: DetectorScores,
    traffic: Mapping[str, ArrayLike],
    seed: int,
    between_parts: Callable[[], None] | None = None,
) -> DetectorCalibration:
    """Simulate streams like traffic that was declared calm.

    Without a context the baseline stays the reference's mean: calm traffic is moved to it, and the reference's own
    error is part of the null. With one, the baseline is what the regression of calm traffic on its context expects.

    Parameters
    ----------
    traffic : Mapping[str, ArrayLike]
        Predictions in their own order (`embeddings`, `probabilities`, `properties`), and their `context` (n, c) if what
        is normal depends on covariates. Of a long span these can be runs of consecutive rows, with the `share` of the
        span's predictions that they are, default 1.
    between_parts : callable, default None
        Called after each draw of the baseline's error.

    Raises
    ------
    ValueError
        As `Reference.check`; fewer than 1,000 rows; a context that does not fit; a share outside of 0..1.
    """
    arrays = dict(traffic)
    covariates, share = arrays.pop("context", None), float(np.asarray(arrays.pop("share", 1.0)))
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in 0..1, got {share}")
    sample = scores.reference.check(**arrays)
    if len(sample) < MIN_CALM_ROWS:
        raise ValueError(f"calm traffic needs at least {MIN_CALM_ROWS} rows, got {len(sample)}")
    context = None if covariates is None else check_context(covariates, len(sample))
    calm = scores(sample)
    rng = np.random.default_rng(seed)
    expected = scores.of_reference.mean(axis=0, dtype=np.float64).astype(np.float32)
    model = None
    if context is None:
        calm = calm - calm.mean(axis=0, dtype=np.float64).astype(np.float32) + expected
        streams = DependentStreams(
            _block_sums(scores.widen(calm)),
            _mean_block(scores.widen(calm)),
            rng,
            reference=scores.widen(scores.of_reference),
        )
        size = scores.size
    else:
        model = ContextModel.fit(context, calm - expected)
        rows = scores.widen(calm - model.expected(context))
        blocks = len(context) // BLOCK
        means = context[: blocks * BLOCK].reshape(blocks, BLOCK, -1).mean(axis=1)
        streams = DependentStreams(_block_sums(rows), _mean_block(rows), rng, context=means, share=share)
        size = len(calm)
    return _calibrate_dependent(scores, size, streams, model, between_parts=between_parts)


def load_calibration(scores: DetectorScores, values: Mapping[str, ArrayLike]) -> DetectorCalibration:
    """Return the calibration that `StreamDetector.calibration` stored.

    Raises
    ------
    ValueError
        It belongs to other scores, or to an earlier version.
    """
    widths = int(np.asarray(values.get("columns", -1))), int(np.asarray(values.get("row_columns", -1)))
    if widths != (scores.layout.block_width, scores.layout.row_width) or "size" not in values:
        raise ValueError("the calibration is of another reference, or of an earlier version")
    calibration = DetectorCalibration.from_dict(values)
    if not calibration.calibrated and calibration.context is None and calibration.size != scores.size:
        raise ValueError("the calibration counts more rows of the reference than take part, as earlier versions did")
    return calibration


def _calibrate_dependent(
    scores: DetectorScores,
    n: int,
    traffic: DependentStreams | UncertainSlopes,
    context: ContextModel | None,
    unused_ratios: int = 0,
    between_parts: Callable[[], None] | None = None,
) -> DetectorCalibration:
    """Scale and take maxima on streams of calm traffic.

    A stretch of calm traffic holds few independent bursts, so that scales fitted to it are off. Their error is part
    of the maxima: each part of them is evaluated on scales that were fitted to another stretch redrawn from it.
    """
    scale = _scale([*_simulated(traffic, scores, n, CALM_CHUNKS, between_parts)], unused_ratios)
    maxima = []
    for _ in range(REDRAWN_STRETCHES):
        stretch = traffic.redrawn()
        other = _scale([*_simulated(stretch, scores, n, STRETCH_CHUNKS, between_parts)], unused_ratios)
        maxima += [epoch_maxima(part, other) for part in _simulated(traffic, scores, n, 1, between_parts)]
    return DetectorCalibration(scale, np.stack(maxima), n, context, calibrated=True)


def _simulated(
    traffic: Traffic, scores: DetectorScores, n: int, count: int, between_parts: Callable[[], None] | None
) -> Iterator[Simulated]:
    """Yield streams for each of `count` draws of the baseline's error."""
    for _ in range(count):
        yield simulate(traffic, scores, n)
        if between_parts is not None:
            between_parts()


def _block_sums(rows: Float32Array) -> Float32Array:
    whole = len(rows) // BLOCK * BLOCK
    return np.asarray(rows[:whole].reshape(-1, BLOCK, rows.shape[1]).sum(axis=1))


def _mean_block(rows: Float32Array) -> float:
    """Return the mean block length of traffic (n, columns) in blocks of ten rows, at least 1."""
    return max(block_length(rows[:, _leading(rows)].astype(np.float64)) / BLOCK, 1.0)


def _scale(simulated: list[Simulated], unused_ratios: int) -> Scale:
    """Return the scale of simulated statistics; the first `unused_ratios` log-likelihood ratios are no evidence."""
    scale = fit_scale([part.windows for part in simulated], [part.ratios for part in simulated])
    scale.ratio_start[:unused_ratios] = NEVER
    return scale


def _leading(calm: Float32Array, count: int = 32) -> IntArray:
    """Return the columns that vary most."""
    return np.asarray(np.argsort(-calm.var(axis=0), kind="stable")[:count])
