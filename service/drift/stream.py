"""The sequential detector: looks at every prediction, and alarms falsely once in the run time that was asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .calibration import Calibration, calibrate
from .reference import Reference
from .scores import DetectorScores
from .views import View
from .window_statistics import BLOCK, LONGEST, norms, quadratic, ratio_evidence, window_evidence, window_lengths

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

MIN_RUN_TIME, MAX_RUN_TIME = 100, 1e9
WITHIN = 3.0  # nats of likelihood below the best that a change point may lie
PROBE = 8  # blocks of one sum from which overdispersion is told
PROBES = 25, 60  # differences of sums before it is told, and those that it is told from
OVERDISPERSED = 2.0  # design effect from which it is said


class StreamDetector:
    """Watches a stream of predictions for the moment when it leaves the reference.

    At every 10 predictions it looks at the mean scores of the last 20, 40, ... predictions (up to 2560, and 0.3 times
    the reference) in all views, and at CUSUMs of log-likelihood ratios: of outlying predictions, and of each class
    becoming rarer or commoner. Each is put on one scale, the
    negative logarithm of how often calm traffic exceeds it; `evidence` is the largest. `threshold` is calibrated so
    that the mean number of predictions between false alarms is `expected_run_time`, the reference's own sampling
    error included.

    Parameters
    ----------
    reference : what training data looks like.
    expected_run_time : in predictions, 100 to 10⁹.
    seed : of the calibration's simulation.
    calm : traffic in its own order that is declared calm (embeddings, probabilities, properties); the null is then a
        stationary block bootstrap of it around the reference.
    calibration : what `calibration()` of a detector with the same reference and calm traffic returned; saves the
        simulation.
    scores : DetectorScores of the same reference, default None. One object serves every detector of a reference, such
        as those of a stream and its slices; without it the detector fits its own.

    Raises
    ------
    ValueError
        Arrays or a calibration that do not fit the reference; a run time out of range; calm traffic of fewer than
        1,000 rows.
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
            raise ValueError(
                f"expected_run_time must lie in {MIN_RUN_TIME}..{MAX_RUN_TIME:.0e} predictions, got {expected_run_time}"
            )
        self._reference = reference
        if scores is not None and scores.reference is not reference:
            raise ValueError("the scores were fitted to another reference")
        self._scores = DetectorScores(reference) if scores is None else scores
        if calibration is None:
            rows = None if calm is None else self._calm_scores(calm)
            self._calibration = calibrate(self._scores, self._scores.of_reference, rows, seed)
            self._calibrated = calm is not None
        else:
            self._calibration = Calibration.from_dict(calibration)
            fitted = len(self._calibration.scale.ratio_start), calibration.get("columns", self._scores.columns)
            if fitted != (len(self._scores.ratio_views), self._scores.columns):
                raise ValueError("the calibration is of another reference, or of an earlier version")
            self._calibrated = bool(calibration["calibrated"])
        self.expected_run_time = float(expected_run_time)
        self.threshold = self._calibration.threshold(expected_run_time)
        self._lengths = window_lengths(len(reference))
        self._norms = norms(self._lengths, len(reference))
        self._leaving = (np.arange(LONGEST)[:, None] - self._lengths) % LONGEST
        self.count = 0
        self._probes = np.zeros(0)  # half squared differences of successive sums, over their expectation
        self._probed = np.zeros((0, self._scores.grouped))  # blocks of the next two sums
        self._pending = np.zeros((0, self._scores.narrow), dtype=np.float32)
        self._clear()

    @property
    def scores(self) -> DetectorScores:
        """The fitted scores, to be passed to other detectors of the same reference."""
        return self._scores

    def score(
        self, embeddings: ArrayLike, probabilities: ArrayLike, properties: ArrayLike | None = None
    ) -> NDArray[np.float32]:
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

    def update(self, embeddings: ArrayLike, probabilities: ArrayLike, properties: ArrayLike | None = None) -> None:
        """Process predictions in their order, any number of them: `update_scored` of their `score`.

        Raises
        ------
        ValueError
            As `score`.
        """
        self.update_scored(self.score(embeddings, probabilities, properties))

    def update_scored(self, rows: NDArray[np.float32]) -> None:
        """Process predictions by the rows (m, D) that `score` returned, in their order.

        Raises
        ------
        ValueError
            The rows do not have the columns of this detector's scores.
        """
        if rows.ndim != 2 or rows.shape[1] != self._scores.narrow:
            raise ValueError(f"score rows must have shape (m, {self._scores.narrow}), got {rows.shape}")
        scores = np.concatenate([self._pending, rows])
        whole = len(scores) // BLOCK * BLOCK
        first = self.count - len(self._pending)
        self._pending = scores[whole:].copy()
        self.count += len(rows)
        sums = scores[:whole].reshape(-1, BLOCK, scores.shape[1]).sum(axis=1)
        for index, block in enumerate(self._scores.widen(sums)):
            self._add(block, first + (index + 1) * BLOCK)

    def reset(self) -> None:
        """Forget all evidence, as after a change that was dealt with; the count of predictions goes on."""
        self._clear()

    @property
    def overdispersed(self) -> bool:
        """Whether a stream that was never calibrated varies more than independent predictions would, so that its
        false alarms come more often than asked until calm traffic is declared."""
        return not self._calibrated and self.design_effect > OVERDISPERSED

    @property
    def design_effect(self) -> float:
        """How many of the stream's first predictions counted as one independent prediction; 1 until that is known."""
        return max(1.0, float(np.median(self._probes))) if len(self._probes) >= PROBES[0] else 1.0

    def state(self) -> dict[str, Any]:
        """Return all that the detector knows, as arrays and scalars of at most 10 MB; see `restore`."""
        return self.calibration() | {
            "count": self.count,
            "evidence": self.evidence,
            "drift_detected": self.drift_detected,
            "change": np.array(self._change, dtype=np.int64),
            "leading": self.leading or "",
            "blocks": self._blocks,
            "position": self._position,
            "pending": self._pending,
            "ring": self._ring,
            "sums": self._sums,
            "cumulated": self._cumulated,
            "since": self._since,
            "probes": self._probes,
            "probed": self._probed,
        }

    def calibration(self) -> dict[str, Any]:
        """Return what the simulation told, as arrays and scalars, to be kept beside the reference."""
        return self._calibration.to_dict() | {
            "expected_run_time": self.expected_run_time,
            "calibrated": self._calibrated,
            "columns": self._scores.columns,
        }

    @classmethod
    def restore(
        cls, reference: Reference, state: Mapping[str, Any], scores: DetectorScores | None = None
    ) -> "StreamDetector":
        """Return a detector that continues bit for bit where the one that gave `state` stopped.

        Parameters
        ----------
        reference : of the detector that gave the state.
        state : what `state()` returned.
        scores : DetectorScores of the reference, default None. They are fitted again without it.

        Raises
        ------
        ValueError
            The state is not one of a detector with this reference.
        """
        detector = cls(reference, float(state["expected_run_time"]), calibration=state, scores=scores)
        for name in ("pending", "ring", "sums", "cumulated", "since"):
            fresh, kept = getattr(detector, f"_{name}"), np.array(state[name])
            if kept.shape[-1] != fresh.shape[-1] or kept.ndim != fresh.ndim:
                raise ValueError(f"the state is of another reference: {name} is {kept.shape}, expected {fresh.shape}")
            setattr(detector, f"_{name}", kept)
        detector._probes, detector._probed = np.array(state["probes"]), np.array(state["probed"])
        detector.count = int(state["count"])
        detector.evidence = float(state["evidence"])
        detector.drift_detected = bool(state["drift_detected"])
        detector._change = tuple(np.asarray(state["change"]).tolist())
        detector.leading = str(state["leading"]) or None  # type: ignore[assignment]
        detector._blocks = int(state["blocks"])
        detector._position = int(state["position"])
        return detector

    @property
    def change_point(self) -> int | None:
        """The number of predictions seen before the change, by the largest likelihood; None before an alarm."""
        return self._change[1] if self._change else None

    @property
    def change_range(self) -> tuple[int, int] | None:
        """The numbers of predictions between which the change lies; None before an alarm."""
        return (self._change[0], self._change[2]) if self._change else None

    def _clear(self) -> None:
        self.evidence = 0.0
        self.drift_detected = False
        self.leading: View | None = None  # the view whose evidence is the largest
        self._change: tuple[int, ...] = ()
        self._blocks = 0
        self._position = 0
        self._pending = np.zeros((0, self._scores.narrow), dtype=np.float32)
        self._ring = np.zeros((LONGEST, self._scores.columns), dtype=np.float32)
        self._sums = np.zeros((len(self._lengths), self._scores.columns))
        self._cumulated = np.zeros(len(self._scores.ratio_views))
        self._since = np.full(len(self._scores.ratio_views), self.count, dtype=np.int64)

    def _add(self, block: Floats, end: int) -> None:
        grouped = self._scores.grouped
        self._sums += block
        self._sums -= self._ring.take(self._leaving[self._position], axis=0)
        self._ring[self._position] = block
        self._position = (self._position + 1) % LONGEST
        self._blocks += 1
        self._cumulated += block[grouped:]
        self._since[self._cumulated <= 0] = end
        np.maximum(self._cumulated, 0, out=self._cumulated)
        self._probe(block)
        scale = self._calibration.scale
        windows = window_evidence(quadratic(self._sums[:, :grouped], self._scores.starts, self._norms), scale)
        if self._blocks < LONGEST:
            windows[:, self._lengths > self._blocks] = 0
        ratios = ratio_evidence(self._cumulated, scale)
        best_window, best_ratio = float(windows.max()), float(ratios.max())
        self.evidence = max(best_window, best_ratio, 0.0)
        if self.drift_detected or self.evidence <= self.threshold:
            return
        self.drift_detected = True
        group, _ = np.unravel_index(int(windows.argmax()), windows.shape)
        ratio = int(ratios.argmax())
        if best_ratio >= best_window:
            self.leading = self._scores.ratio_views[ratio]
            self._change = self._change_of_ratio(ratio, end)
        else:
            self.leading = self._scores.groups[group].view
            self._change = self._change_of_group(int(group), end)

    def _change_of_group(self, group: int, end: int) -> tuple[int, int, int]:
        """Split the last blocks where the mean after the split explains most: max w |mean|² (Hinkley 1970)."""
        path = np.cumsum(self._recent()[:, self._scores.groups[group].columns], axis=0, dtype=np.float64)
        lengths = np.arange(1, len(path) + 1) * BLOCK
        gain = (path**2).sum(axis=1) / lengths / 2
        return self._range(gain, end)

    def _change_of_ratio(self, ratio: int, end: int) -> tuple[int, int, int]:
        gain = np.cumsum(self._recent()[:, self._scores.grouped + ratio], dtype=np.float64)
        earliest, best, latest = self._range(gain, end)
        start = int(self._since[ratio])
        return min(earliest, start), min(best, start), latest

    def _range(self, gain: Matrix, end: int) -> tuple[int, int, int]:
        best = int(gain.argmax())
        near = np.flatnonzero(gain >= gain[best] - WITHIN)
        return tuple(max(end - (int(i) + 1) * BLOCK, 0) for i in (near[-1], best, near[0]))  # type: ignore[return-value]

    def _recent(self) -> Floats:
        """Return the last blocks, newest first."""
        filled = min(self._blocks, LONGEST)
        return self._ring[(self._position - 1 - np.arange(filled)) % LONGEST]

    def _probe(self, block: Floats) -> None:
        """Follow how much the stream's successive sums differ: the median, so that a drift between two counts little.

        Resets do not interrupt it: a stream that is overdispersed alarms often.
        """
        if self._calibrated or len(self._probes) >= PROBES[1]:
            return
        self._probed = np.vstack([self._probed, block[: self._scores.grouped]])
        if len(self._probed) == 2 * PROBE:
            gap = self._probed[:PROBE].sum(axis=0) - self._probed[PROBE:].sum(axis=0)
            expected = PROBE * BLOCK * self._scores.variance
            self._probes = np.append(self._probes, float(gap @ gap) / 2 / expected)
            self._probed = self._probed[:0]

    def _calm_scores(self, calm: Mapping[str, ArrayLike]) -> Floats:
        sample = self._reference.check(**calm)
        if len(sample) < 1000:
            raise ValueError(f"calm traffic needs at least 1000 rows, got {len(sample)}")
        return self._scores(sample)
