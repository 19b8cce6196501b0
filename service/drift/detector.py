"""The sequential detector: processes every prediction, and alarms falsely about once in the run time asked for."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from .detector_readings import DetectorReadings
from .detector_simulation import calibrate, calibrate_calm, load_calibration
from .learnt_slopes import LearntContext
from .reference import Reference
from .scores import DetectorScores
from .stream_processor import StreamProcessor
from .types import Float32Array, IntArray

MIN_RUN_TIME, MAX_RUN_TIME = 100, 1e12  # predictions


class StreamDetector(DetectorReadings):
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
    reference : Reference
        The reference, or the accepted baseline that `Reference.accept` returned.
    expected_run_time : float
        Default 100,000. Predictions between two false alarms, 100 to 10¹².
    seed : int, default 0
        Seed of the calibration's simulation.
    calm : mapping, default None
        Traffic in its own order that is declared calm: `embeddings`, `probabilities`, `properties` and, if what is
        normal depends on covariates such as the hour, `context` (m, c). The null is then a block bootstrap of it:
        around the reference's mean, or around what the context lets expect. Of a long span runs of consecutive rows can
        be given, with the `share` of the span's rows that they are (default 1).
    calibration : mapping, default None
        What `calibration()` of a detector with the same reference and calm traffic returned; saves the simulation.
    scores : DetectorScores or None
        DetectorScores of the same reference, default None. One object serves every detector of a reference, such as
        those of a stream and its slices; without it the detector fits its own.
    learnt : LearntContext, default None
        How predictions depend on their context, where the reference is too short a span of traffic to tell; `calm` must
        be None then.
    between_parts : callable, default None
        Called between the parts of the simulation, each of some tens of milliseconds, so that a caller can give way to
        other work.

    Attributes
    ----------
    threshold : float
        The evidence at which to alarm, in nats.
    expected_run_time : float
        The requested one.

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
        calibration: Mapping[str, ArrayLike] | None = None,
        scores: DetectorScores | None = None,
        learnt: LearntContext | None = None,
        between_parts: Callable[[], None] | None = None,
    ) -> None:
        expected_run_time = _checked_run_time(expected_run_time)
        if scores is not None and scores.reference is not reference:
            raise ValueError("the scores were fitted to another reference")
        self._reference = reference
        self._scores = DetectorScores(reference) if scores is None else scores
        self._layout = self._scores.layout
        if calibration is not None:
            self._calibration = load_calibration(self._scores, calibration)
        elif calm is not None:
            self._calibration = calibrate_calm(self._scores, calm, seed, between_parts)
        else:
            self._calibration = calibrate(self._scores, seed, learnt, between_parts)
        self.change_run_time(expected_run_time)
        self._processor = StreamProcessor(self._scores, self._calibration)

    @property
    def scores(self) -> DetectorScores:
        """The fitted scores, to be passed to other detectors of the same reference."""
        return self._scores

    def score(
        self, embeddings: ArrayLike, probabilities: ArrayLike, properties: ArrayLike | None = None
    ) -> Float32Array:
        """Return the score rows of predictions without changing the detector.

        Every detector with the same `scores` takes all or some of these rows in `update_scored`.

        Parameters
        ----------
        embeddings : float (m, d)
        probabilities : float (m, k)
        properties : float (m, p), default None
            Required if the reference has properties.

        Returns
        -------
        float32 (m, D), one row a prediction.

        Raises
        ------
        ValueError
            As `WindowTest`; also if the reference has properties and these predictions have none.
        """
        return self._scores(self._reference.check_complete(embeddings, probabilities, properties))

    def update(
        self,
        embeddings: ArrayLike,
        probabilities: ArrayLike,
        properties: ArrayLike | None = None,
        context: ArrayLike | None = None,
    ) -> None:
        """Process predictions in their order, any number of them: `update_scored` of their `score`, with its errors."""
        self.update_scored(self.score(embeddings, probabilities, properties), context)

    def update_scored(
        self, rows: Float32Array, context: ArrayLike | None = None, times: IntArray | None = None
    ) -> None:
        """Process predictions by the rows (m, D) that `score` returned, in their order.

        Parameters
        ----------
        rows : float32 (m, D)
        context : float (m, c), default None
            The covariates of the predictions, if calm traffic was declared with a context; they are ignored otherwise.
        times : int64 (m,), default None
            When the predictions were made, in microseconds of the Unix epoch: tells whether the scores follow the hour
            of the day.

        Raises
        ------
        ValueError
            The rows do not have the columns of this detector's scores, or the context is missing or does not fit.
        """
        if rows.ndim != 2 or rows.shape[1] != self._layout.row_width:
            raise ValueError(f"score rows must have shape (m, {self._layout.row_width}), got {rows.shape}")
        self._processor.process(rows, self._calibration.expected(context, len(rows)), self.threshold, times)

    def change_run_time(self, expected_run_time: float) -> None:
        """Ask for another expected run time from now on: the threshold changes, the evidence stays.

        Parameters
        ----------
        expected_run_time : float
            Predictions between two false alarms, 100 to 10¹².

        Raises
        ------
        ValueError
            The run time is out of range.
        """
        self.expected_run_time = _checked_run_time(expected_run_time)
        self.threshold = self._calibration.threshold(self.expected_run_time)

    def reset(self) -> None:
        """Forget all evidence, as after a change that was dealt with; the count of predictions continues."""
        self._processor.reset()

    def state(self) -> dict[str, ArrayLike]:
        """Return everything that the detector knows, as arrays and scalars of at most 10 MB; see `restore`."""
        return self.calibration() | self._processor.to_dict()

    def calibration(self) -> dict[str, ArrayLike]:
        """Return the result of the simulation, as arrays and scalars."""
        return self._calibration.to_dict() | {
            "expected_run_time": self.expected_run_time,
            "columns": self._layout.block_width,
            "row_columns": self._layout.row_width,
        }

    @classmethod
    def restore(
        cls, reference: Reference, state: Mapping[str, ArrayLike], scores: DetectorScores | None = None
    ) -> "StreamDetector":
        """Return a detector that continues bit for bit where the one that gave `state` stopped.

        Parameters
        ----------
        reference : Reference
            Reference of the detector that gave the state.
        state : Mapping[str, ArrayLike]
            The mapping that `state()` returned.
        scores : DetectorScores or None
            DetectorScores of the reference, default None. They are fitted again without it.

        Raises
        ------
        ValueError
            The state is not one of a detector with this reference, or one of an earlier version.
        """
        detector = cls(reference, float(np.asarray(state["expected_run_time"])), calibration=state, scores=scores)
        detector._processor.restore(state)
        return detector


def _checked_run_time(expected_run_time: float) -> float:
    if not MIN_RUN_TIME <= expected_run_time <= MAX_RUN_TIME:
        limits = f"{MIN_RUN_TIME}..{MAX_RUN_TIME:.0e}"
        raise ValueError(f"expected_run_time must lie in {limits} predictions, got {expected_run_time}")
    return float(expected_run_time)
