"""The sequential detector: processes every prediction, and alarms falsely about once in the run time asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .calibration import calibrate, calibrate_calm
from .context import check_context
from .detector_calibration import DetectorCalibration
from .detector_state import ChangePoint, DetectorState
from .evidence_scale import long_window_evidence, ratio_evidence, window_evidence
from .overdispersion import Overdispersion
from .recent_repeats import RecentRepeats, joined_keys
from .reference import Reference
from .score_sums import ScoreSums
from .scores import DetectorScores
from .types import Float32Array, FloatArray, IntArray
from .views import Leading
from .window_statistics import (
    BLOCK,
    COARSE,
    long_window_lengths,
    norms,
    quadratic,
    window_lengths,
)

MIN_RUN_TIME, MAX_RUN_TIME = 100, 1e12  # predictions
MIN_CALM_ROWS = 1000  # smallest number of rows that can be declared calm
CHUNK = 64  # blocks processed at once, which bounds the memory
CHANGE_POINT_LOG_LIKELIHOOD_DROP = 3.0  # nats below the likeliest change point, within which others are likely, too


class StreamDetector:
    """Watches a stream of predictions for the moment when it leaves the reference.

    At every 10 predictions it compares the mean scores of the last 20, 40, ... predictions (up to 2,560 and the
    reference's size; for larger references up to 327,680) in all views, and CUSUMs of log-likelihood ratios: of
    outlying predictions, and of each class or group of rare classes becoming rarer or commoner. Each is put on one
    scale, the negative logarithm of how often traffic in control exceeds it; `evidence` is the largest. `threshold`
    is calibrated so that for nine references of ten the mean number of predictions between false alarms is at least
    `expected_run_time`. A prediction whose embedding came before within the last 5,000 counts once; a surge of such
    repeats is an alarm of its own.

    Parameters
    ----------
    reference : Reference, or the accepted baseline that `Reference.accept` returned.
    expected_run_time : float, default 100,000. Predictions between two false alarms, 100 to 10¹².
    seed : int, default 0, of the calibration's simulation.
    calm : mapping, default None. Traffic in its own order that is declared calm: `embeddings`, `probabilities`,
        `properties` and, if what is normal depends on covariates such as the hour, `context` (m, c). The null is then
        a block bootstrap of it: around the reference's mean, or around what the context lets expect.
    calibration : mapping, default None. What `calibration()` of a detector with the same reference and calm traffic
        returned; saves the simulation.
    scores : DetectorScores of the same reference, default None. One object serves every detector of a reference, such
        as those of a stream and its slices; without it the detector fits its own.

    Attributes
    ----------
    threshold : float. The evidence at which to alarm, in nats.
    expected_run_time : float. As asked for.

    Raises
    ------
    ValueError
        Arrays or a calibration that do not fit the reference; a run time out of range; calm traffic of fewer than
        1,000 rows.

    References
    ----------
    Lorden (1971), Procedures for reacting to a change in distribution, Annals of Mathematical Statistics 42.
    Lai (1995), Sequential changepoint detection in quality control and dynamical systems, JRSS B 57; for windows of
    several lengths.
    Hinkley (1970), Inference about the change-point in a sequence of random variables, Biometrika 57.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> def predictions(m, move=0.0):
    ...     labels = rng.integers(0, 2, m)
    ...     embeddings = labels[:, None] * 3 + rng.normal(size=(m, 4)) + move
    ...     return {"embeddings": embeddings, "probabilities": np.eye(2)[labels] * 0.9 + 0.05}
    >>> detector = StreamDetector(Reference(**predictions(500)), expected_run_time=10_000)
    >>> detector.update(**predictions(1000))
    >>> detector.drift_detected
    False
    >>> detector.update(**predictions(100, move=1.0))
    >>> detector.drift_detected, abs(detector.change_point - 1000) <= 20
    (True, True)
    """

    def __init__(
        self,
        reference: Reference,
        expected_run_time: float = 100_000,
        seed: int = 0,
        calm: Mapping[str, ArrayLike] | None = None,
        calibration: Mapping[str, Any] | None = None,
        scores: DetectorScores | None = None,
    ) -> None:
        if not MIN_RUN_TIME <= expected_run_time <= MAX_RUN_TIME:
            limits = f"{MIN_RUN_TIME}..{MAX_RUN_TIME:.0e}"
            raise ValueError(f"expected_run_time must lie in {limits} predictions, got {expected_run_time}")
        if scores is not None and scores.reference is not reference:
            raise ValueError("the scores were fitted to another reference")
        self._reference = reference
        self._scores = DetectorScores(reference) if scores is None else scores
        self._layout = self._scores.layout
        if calibration is not None:
            self._calibration = self._loaded(calibration)
        elif calm is not None:
            self._calibration = self._calibrated(calm, seed)
        else:
            self._calibration = calibrate(self._scores, seed)
        self.expected_run_time = float(expected_run_time)
        self.threshold = self._calibration.threshold(expected_run_time)
        size = self._calibration.size
        self._lengths, self._steps = window_lengths(size), long_window_lengths(size)
        self._norms, self._long_norms = norms(self._lengths, size), norms(self._steps * COARSE, size)
        self._starts = [group.columns.start for group in self._scores.groups]
        self._dispersion = Overdispersion(self._starts, self._layout.grouped, *self._scores.dispersion)
        self._repeats = RecentRepeats(self._scores.repeat_share)
        self._state = self._fresh_state(0)
        self.reset()

    @property
    def scores(self) -> DetectorScores:
        """The fitted scores, to be passed to other detectors of the same reference."""
        return self._scores

    def score(
        self, embeddings: ArrayLike, probabilities: ArrayLike, properties: ArrayLike | None = None
    ) -> Float32Array:
        """Return the score rows of predictions without changing the detector.

        Every detector with the same `scores` takes these rows in `update_scored`, all of them or any selection, so
        that a prediction of a stream and of its slices is scored once.

        Parameters
        ----------
        embeddings : float (m, d).
        probabilities : float (m, k).
        properties : float (m, p), default None. Required if the reference has properties.

        Returns
        -------
        float32 (m, D), one row a prediction.

        Raises
        ------
        ValueError
            As `WindowTest`; also if the reference has properties and these predictions have none.
        """
        sample = self._reference.check(embeddings, probabilities, properties)
        if self._reference.properties is not None and sample.properties is None:
            raise ValueError("the reference has properties, these predictions have none")
        return self._scores(sample)

    def update(
        self,
        embeddings: ArrayLike,
        probabilities: ArrayLike,
        properties: ArrayLike | None = None,
        context: ArrayLike | None = None,
    ) -> None:
        """Process predictions in their order, any number of them: `update_scored` of their `score`.

        Raises
        ------
        ValueError
            As `score` and `update_scored`.
        """
        self.update_scored(self.score(embeddings, probabilities, properties), context)

    def update_scored(self, rows: Float32Array, context: ArrayLike | None = None) -> None:
        """Process predictions by the rows (m, D) that `score` returned, in their order.

        Parameters
        ----------
        rows : float32 (m, D).
        context : float (m, c), default None. The covariates of the predictions, if calm traffic was declared with a
            context; they are ignored otherwise.

        Raises
        ------
        ValueError
            The rows do not have the columns of this detector's scores, or the context is missing or does not fit.
        """
        if rows.ndim != 2 or rows.shape[1] != self._layout.row_width:
            raise ValueError(f"score rows must have shape (m, {self._layout.row_width}), got {rows.shape}")
        expected = self._expected(context, len(rows))
        repeated = self._repeats.mark(joined_keys(rows[:, self._layout.row["key"]]))
        ends = np.arange(self.count + 1, self.count + len(rows) + 1)
        self._state.count += len(rows)
        if expected is not None:
            rows = rows - expected
        if repeated.any():
            rows, ends = rows[~repeated], ends[~repeated]
        if len(self._state.pending):
            rows, ends = np.concatenate([self._state.pending, rows]), np.concatenate([self._state.pending_ends, ends])
        whole = len(rows) // BLOCK * BLOCK
        self._state.pending, self._state.pending_ends = rows[whole:].copy(), ends[whole:].copy()
        if whole:
            sums = rows[:whole].reshape(-1, BLOCK, rows.shape[1]).sum(axis=1)
            self._add_blocks(self._scores.widen(sums), ends[BLOCK - 1 : whole : BLOCK])
        self._follow_repeats()

    def reset(self) -> None:
        """Forget all evidence, as after a change that was dealt with; the count of predictions continues."""
        self._state = self._fresh_state(self.count)
        self._sums = ScoreSums(self._layout.block_width, self.count)
        self._repeats.clear()

    @property
    def count(self) -> int:
        """The number of predictions processed."""
        return self._state.count

    @property
    def evidence(self) -> float:
        """The detection statistic after the last block of ten predictions, in nats."""
        return self._state.evidence

    @property
    def drift_detected(self) -> bool:
        """Whether the evidence has passed the threshold since the last `reset`."""
        return self._state.drift_detected

    @property
    def leading(self) -> Leading | None:
        """What carries the evidence of the alarm; None before it."""
        return self._state.leading

    @property
    def overdispersed(self) -> bool:
        """Whether a stream that was never calibrated varies more than independent predictions would, so that its
        false alarms come more often than asked until calm traffic is declared."""
        return not self._calibration.calibrated and self._dispersion.overdispersed

    @property
    def design_effect(self) -> float:
        """How many of the stream's predictions count as one independent one, at the time scale where that is the
        largest; 1 until that is known."""
        return self._dispersion.design_effect

    @property
    def repeat_share(self) -> float:
        """The share of the last 5,000 predictions whose embedding came before."""
        return self._repeats.share

    @property
    def context_columns(self) -> int:
        """The number of covariates that `update` requires; 0 where calm traffic was declared without a context."""
        return 0 if self._calibration.context is None else len(self._calibration.context.location)

    @property
    def change_point(self) -> int | None:
        """The number of predictions seen before the change, by the largest likelihood; None before an alarm."""
        return self._state.change.best if self._state.change else None

    @property
    def change_range(self) -> tuple[int, int] | None:
        """The numbers of predictions between which the change lies; None before an alarm."""
        return (self._state.change.earliest, self._state.change.latest) if self._state.change else None

    def state(self) -> dict[str, Any]:
        """Return everything that the detector knows, as arrays and scalars of at most 10 MB; see `restore`."""
        return (
            self.calibration()
            | self._state.to_dict()
            | self._sums.state()
            | self._dispersion.state()
            | self._repeats.state()
        )

    def calibration(self) -> dict[str, Any]:
        """Return the result of the simulation, as arrays and scalars, to be stored with the reference."""
        return self._calibration.to_dict() | {
            "expected_run_time": self.expected_run_time,
            "columns": self._layout.block_width,
            "row_columns": self._layout.row_width,
        }

    @classmethod
    def restore(
        cls, reference: Reference, state: Mapping[str, Any], scores: DetectorScores | None = None
    ) -> "StreamDetector":
        """Return a detector that continues bit for bit where the one that gave `state` stopped.

        Parameters
        ----------
        reference : Reference of the detector that gave the state.
        state : mapping that `state()` returned.
        scores : DetectorScores of the reference, default None. They are fitted again without it.

        Raises
        ------
        ValueError
            The state is not one of a detector with this reference, or one of an earlier version.
        """
        detector = cls(reference, float(state["expected_run_time"]), calibration=state, scores=scores)
        detector._state = DetectorState.from_dict(state)
        detector._sums.restore(state)
        detector._dispersion.restore(state)
        detector._repeats.restore(state)
        return detector

    def _fresh_state(self, count: int) -> DetectorState:
        return DetectorState.fresh(self._layout.row_width, len(self._scores.ratio_views), count)

    def _loaded(self, values: Mapping[str, Any]) -> DetectorCalibration:
        widths = int(values.get("columns", -1)), int(values.get("row_columns", -1))
        if widths != (self._layout.block_width, self._layout.row_width) or "size" not in values:
            raise ValueError("the calibration is of another reference, or of an earlier version")
        return DetectorCalibration.from_dict(values)

    def _calibrated(self, calm: Mapping[str, ArrayLike], seed: int) -> DetectorCalibration:
        arrays = dict(calm)
        context = arrays.pop("context", None)
        sample = self._reference.check(**arrays)
        if len(sample) < MIN_CALM_ROWS:
            raise ValueError(f"calm traffic needs at least {MIN_CALM_ROWS} rows, got {len(sample)}")
        covariates = None if context is None else check_context(context, len(sample))
        return calibrate_calm(self._scores, self._scores(sample), covariates, seed)

    def _expected(self, context: ArrayLike | None, m: int) -> Float32Array | None:
        model = self._calibration.context
        if model is None:
            return None
        if context is None:
            raise ValueError("calm traffic was declared with a context, these predictions have none")
        return model.expected(check_context(context, m, len(model.location)))

    def _add_blocks(self, blocks: Float32Array, ends: IntArray) -> None:
        first = 0
        while first < len(blocks):
            room = COARSE - self._sums.blocks % COARSE
            part = slice(first, min(first + min(CHUNK, room), len(blocks)))
            self._add_chunk(blocks[part], ends[part])
            first = part.stop

    def _add_chunk(self, blocks: Float32Array, ends: IntArray) -> None:
        """Process blocks that lie in one coarse step, and note the first whose evidence passes the threshold."""
        grouped, scale = self._layout.grouped, self._calibration.scale
        completed = self._sums.add(blocks, ends)
        cumulated = np.empty((len(blocks), len(self._state.cumulated)))
        zeroed = np.empty_like(cumulated, dtype=np.int64)
        for index, ratios in enumerate(blocks[:, grouped:]):
            self._state.cumulated += ratios
            self._state.since[self._state.cumulated <= 0] = ends[index]
            np.maximum(self._state.cumulated, 0, out=self._state.cumulated)
            cumulated[index], zeroed[index] = self._state.cumulated, self._state.since
            if not self._calibration.calibrated:
                self._dispersion.add(blocks[index, :grouped])
        sums = self._sums.window_sums(len(blocks), self._lengths, grouped)
        statistics = quadratic(sums, self._starts, self._norms)
        windows = window_evidence(statistics, scale)
        seen = self._sums.blocks - len(blocks) + 1 + np.arange(len(blocks))
        windows[np.broadcast_to((self._lengths > seen[:, None])[:, None], windows.shape)] = 0
        ratios_now = ratio_evidence(cumulated, scale)
        evidence = np.maximum(np.maximum(windows.max(axis=(1, 2)), ratios_now.max(axis=1)), self._state.long_evidence)
        if completed:
            self._follow_long_windows()
            evidence[-1] = max(evidence[-1], self._state.long_evidence)
        self._state.evidence = max(float(evidence[-1]), 0.0)
        if self.drift_detected or not (evidence > self.threshold).any():
            return
        self._state.drift_detected = True
        at = int(np.argmax(evidence > self.threshold))
        back = len(blocks) - 1 - at
        best_ratio, best_window = float(ratios_now[at].max()), float(windows[at].max())
        if best_ratio >= max(best_window, self._state.long_evidence):
            ratio = int(ratios_now[at].argmax())
            self._state.leading = self._scores.ratio_views[ratio]
            self._state.change = self._change_of_ratio(ratio, int(zeroed[at, ratio]), back)
        else:
            group = (
                int(windows[at].max(axis=1).argmax())
                if best_window >= self._state.long_evidence
                else self._state.long_group
            )
            self._state.leading = self._scores.groups[group].leading
            self._state.change = self._change_of_group(group, back)

    def _follow_long_windows(self) -> None:
        steps = self._steps[self._steps <= self._sums.blocks // COARSE]
        if not len(steps):
            return
        sums = self._sums.long_window_sums(steps, self._layout.grouped)
        statistics = quadratic(sums[None], self._starts, self._long_norms[: len(steps)])[0]
        evidence = long_window_evidence(statistics, self._calibration.scale).max(axis=1)
        self._state.long_evidence, self._state.long_group = float(evidence.max()), int(evidence.argmax())

    def _follow_repeats(self) -> None:
        self._state.evidence = max(self.evidence, self._repeats.evidence)
        if not self.drift_detected and self._repeats.evidence > self.threshold:
            self._state.drift_detected = True
            self._state.leading = Leading.REPEATS
            since = min(self._repeats.since, self.count)
            self._state.change = ChangePoint(since, since, self.count)

    def _change_of_group(self, group: int, back: int) -> ChangePoint:
        """Split the past where the mean after the split explains most: max w |mean|² / 2."""
        sums, blocks, before = self._sums.path(self._scores.groups[group].columns, back)
        return self._likeliest((sums**2).sum(axis=1) / (blocks * BLOCK) / 2, before)

    def _change_of_ratio(self, ratio: int, zeroed: int, back: int) -> ChangePoint:
        column = self._layout.grouped + ratio
        sums, _, before = self._sums.path(slice(column, column + 1), back)
        earliest, best, latest = self._likeliest(sums[:, 0], before)
        return ChangePoint(min(earliest, zeroed), min(best, zeroed), latest)

    def _likeliest(self, gain: FloatArray, before: IntArray) -> ChangePoint:
        """Return the change point with the largest gain in nats; where nothing older is stored, the earliest possible
        point is the detector's start."""
        best = int(gain.argmax())
        near = np.flatnonzero(gain >= gain[best] - CHANGE_POINT_LOG_LIKELIHOOD_DROP)
        earliest = int(before[near[-1]]) if near[-1] < len(gain) - 1 else self._sums.start
        return ChangePoint(earliest, int(before[best]), int(before[near[0]]))
