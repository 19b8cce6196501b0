"""Sequential tests on true labels: whether the model became worse (harm), and whether labels mean something else."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from .e_detector import ALTERNATIVES, ERROR_RANGE, ErrorLevels, log_factors
from .estimated_accuracy import at_proportions
from .intervals import wilson_interval
from .label_agreement import LabelEvidence, label_evidence, leading_classes, measured_accuracy
from .label_history import RECENT, LabelHistory
from .label_readings import LabelReadings
from .label_records import Label, LabelColumns, LabelTrace, check_integers
from .reference import Reference
from .tolerance import TOLERANCE
from .types import FloatArray

HARM_TOLERANCE = 0.02  # share of errors beyond the reference's that is not a harm


class ConceptMonitor(LabelReadings):
    """Two e-detectors on labels: *concept* against calibrated confidence, *harm* against the reference's accuracy.

    For label i let m_i be the error probability that the null allows. While the true one is at most m_i, each factor
    (q_i/m_i)^wrong ((1-q_i)/(1-m_i))^right with q_i > m_i has a mean of at most one. The Shiryaev-Roberts sums
    R <- (R + 1) factor, mixed over five alternatives q, are an e-detector: the mean number of labels until one
    exceeds A is at least A. All sums are logarithms, so that no number of labels overflows.

    *Concept*: m_i is one minus the calibrated confidence, plus a tolerance; over all labels and per predicted class.
    *Harm*: m_i is the upper 95 % limit of the reference's error rate, plus `harm_tolerance`. It needs neither
    confidence nor a kind of drift, so that it also holds while the images have drifted.
    The end of each is tested from the other side, against "at least half of the incident's excess of errors is left";
    see `Recovery`.

    Labels of one cluster (the same object, a burst) are not independent: the first of each cluster bets, the others
    count in the measured accuracy only.

    Parameters
    ----------
    reference : Reference
        Reference with labels, or a baseline that was accepted from one.
    harm_tolerance : float, default 0.02
        Share of errors beyond the reference's that is accepted.

    Attributes
    ----------
    harm_tolerance : float
        Share of errors beyond the reference's that is accepted.
    reference_accuracy : float
        Accuracy on the reference.
    harmless : float
        Error rate up to which there is no harm.

    Raises
    ------
    ValueError
        The reference has no labels, or the tolerance lies outside 0..1.

    References
    ----------
    Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86.
    Shin, Ramdas and Rinaldo (2023), E-detectors: a nonparametric framework for sequential change detection.
    Podkopaev and Ramdas (2022), Tracking the risk of a deployed model and detecting harmful distribution shifts, ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 2000)
    >>> confident = np.where(labels[:, None] == np.arange(2), 0.95, 0.05)
    >>> predicted = np.where(rng.random(2000) < 0.05, 1 - labels, labels)
    >>> answers = np.where(predicted[:, None] == np.arange(2), 0.95, 0.05)
    >>> reference = Reference(rng.normal(size=(2000, 4)), answers, labels=labels)
    >>> monitor = ConceptMonitor(reference)
    >>> trace = monitor.update(answers[:500], predicted[:500], labels[:500])
    >>> bool(trace.evidence.max() > monitor.threshold(100_000, 0.1))
    False
    >>> trace = monitor.update(answers[:100], predicted[:100], 1 - labels[:100])
    >>> bool(trace.harm_evidence[-1] > monitor.harm_threshold(100_000, 0.1))
    True
    """

    def __init__(self, reference: Reference, harm_tolerance: float = HARM_TOLERANCE) -> None:
        reference = reference.labelled
        if reference.labels is None:
            raise ValueError("a concept shift is measured against the reference's true labels, and it has none")
        if not 0 <= harm_tolerance < 1:
            raise ValueError(f"harm_tolerance must lie in 0..1, got {harm_tolerance}")
        self._reference = reference
        self.harm_tolerance = float(harm_tolerance)
        self._prior = np.bincount(reference.labels, minlength=reference.classes) / len(reference)
        wrong = int((reference.probabilities.argmax(axis=1) != reference.labels).sum())
        self.reference_accuracy = 1 - wrong / len(reference)
        self.harmless = float(np.clip(wilson_interval(wrong, len(reference))[1] + harm_tolerance, *ERROR_RANGE))
        expected = float(np.clip(1 - self.reference_accuracy, *ERROR_RANGE))
        self._history = LabelHistory(reference.classes, ErrorLevels(expected, self.harmless))

    @property
    def count(self) -> int:
        """The number of labels processed, a corrected one once."""
        return self._history.count

    def update(
        self,
        probabilities: ArrayLike,
        predicted: ArrayLike,
        labels: ArrayLike,
        tolerance: float = TOLERANCE,
        proportions: ArrayLike | None = None,
        clusters: ArrayLike | None = None,
        ids: ArrayLike | None = None,
    ) -> LabelTrace:
        """Process labels in the order in which they arrived.

        Parameters
        ----------
        probabilities : float (m, k)
            The model's probabilities at the time of the prediction.
        predicted, labels : int (m,)
            The predicted and the true classes.
        tolerance : float, default 0.02
            Share of errors beyond confidence that is accepted by *concept*.
        proportions : float (k,), default None
            Class proportions to which confidence is adjusted while they have drifted.
        clusters : int (m,), default None
            Labels of one number depend on each other and bet once, also across updates (the last 5,000 clusters are
            remembered); -1 marks a label that stands alone, as all do by default.
        ids : int (m,), default None
            Numbers of the predictions. A second label of one of the last 500 predictions replaces the first and its
            bet; of the 5,000 before it is ignored. -1 marks an unknown prediction.

        Returns
        -------
        LabelTrace
            The evidence after each label.

        Raises
        ------
        ValueError
            Shapes that do not match, labels out of range, rows that are not probability distributions.
        """
        answers = self._reference.check_probabilities(probabilities)
        m, k = answers.shape
        predictions, truth = check_integers("predicted", predicted, m, k), check_integers("labels", labels, m, k)
        groups, keys = check_integers("clusters", clusters, m), check_integers("ids", ids, m)
        posterior = self._reference.calibration(answers)
        if proportions is not None:
            posterior = at_proportions(posterior, self._prior, np.asarray(proportions, dtype=np.float64))
        confidence = posterior[np.arange(m), predictions]
        null_error = np.clip(1 - confidence + tolerance, *ERROR_RANGE)
        trace = np.empty((2, m))
        factors = log_factors(predictions != truth, null_error, self.harmless)
        for row in range(m):
            self._history.add(
                Label(
                    id=int(keys[row]),
                    cluster=int(groups[row]),
                    predicted=int(predictions[row]),
                    label=int(truth[row]),
                    confidence=float(confidence[row]),
                    null_error=float(null_error[row]),
                    bets=True,
                ),
                factors[row],
            )
            trace[:, row] = self.evidence, self.harm_evidence
        return LabelTrace(*trace)

    def classes(self) -> list[int]:
        """Return the predicted classes that carry the evidence of a concept shift, strongest first."""
        evidence = np.logaddexp.reduce(self._history.sums.of_class, axis=1) - np.log(ALTERNATIVES)
        return leading_classes(evidence)

    def accuracy(self, last: int = RECENT) -> tuple[float, float, float, int] | None:
        """Return the accuracy of the last labels with its 95 % interval (Wilson) and their number, or None.

        The labels of one cluster weigh as one.
        """
        recent = self._history.recent[-last:]
        return measured_accuracy(LabelColumns.from_labels(recent)) if recent else None

    def confidence(self, probabilities: ArrayLike) -> FloatArray:
        """Return the calibrated probability (m,) of the predicted class of each row of probabilities (m, k)."""
        answers = self._reference.check_probabilities(probabilities)
        return np.asarray(self._reference.calibration(answers)[np.arange(len(answers)), answers.argmax(axis=1)])

    def recent_labels(self, last: int = RECENT) -> LabelColumns:
        """Return the last labels as arrays."""
        return LabelColumns.from_labels(self._history.recent[-last:])

    def agreement(self, last: int = RECENT) -> LabelEvidence | None:
        """Return the accuracy of the last labels next to calibrated confidence, or None before the first label."""
        recent = self._history.recent[-last:]
        names = self._reference.class_names
        return label_evidence(LabelColumns.from_labels(recent), self.classes(), names) if recent else None

    def begin_incident(self, last: int) -> None:
        """Forget all evidence, and test from now on whether the incident of the last labels has ended.

        Parameters
        ----------
        last : int
            The number of labels that showed the incident, at most 500; 0 if nothing is known of its errors.
        """
        self._history.begin_incident(last)

    def reset(self) -> None:
        """Forget all evidence; the recent labels stay in the measured accuracy, and the errors of the incident whose
        end is tested."""
        self._history.reset()

    def state(self) -> dict[str, ArrayLike]:
        """Return everything that the monitor stores, as arrays and scalars; see `restore`."""
        return self._history.state() | {"harm_tolerance": self.harm_tolerance}

    @classmethod
    def restore(
        cls, reference: Reference, state: Mapping[str, ArrayLike], harm_tolerance: float = HARM_TOLERANCE
    ) -> "ConceptMonitor":
        """Return a monitor that continues where the one that gave `state` stopped.

        With another tolerance the evidence starts again. Of a state of a version before 0.2 only the count is used.
        """
        monitor = cls(reference, harm_tolerance)
        monitor._history.restore(state)
        if float(np.asarray(state.get("harm_tolerance", HARM_TOLERANCE))) != monitor.harm_tolerance:
            monitor.reset()
        return monitor
