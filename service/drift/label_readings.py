"""What the sequential tests of labels have measured: their evidence, its thresholds, and the end of an incident."""

import numpy as np

from .e_detector import ALTERNATIVES, CONCEPT, HARM, log_sum
from .label_history import LabelHistory
from .recovery import RUN_LENGTH

SHARE_OF_BUDGET = 0.1  # share of the stream's false alarms for each of the two detectors
MIN_RUN_TIME = 100.0  # labels
LOWEST = -690.0  # nats reported where there is no evidence at all


class LabelReadings:
    """The evidence of a label monitor and its thresholds; reading them changes nothing."""

    _history: LabelHistory

    @property
    def evidence(self) -> float:
        """The logarithm of the e-detector of a concept shift, in nats."""
        both = log_sum(self._history.sums.pooled[CONCEPT]), log_sum(self._history.sums.of_class)
        return max(float(np.logaddexp(*both)) - float(np.log(2 * ALTERNATIVES)), LOWEST)

    @property
    def harm_evidence(self) -> float:
        """The logarithm of the e-detector of a harm, in nats: more errors than on the reference."""
        return max(log_sum(self._history.sums.pooled[HARM]) - float(np.log(ALTERNATIVES)), LOWEST)

    @property
    def recovery_evidence(self) -> float:
        """The logarithm of the e-detector of the end of a concept shift, in nats; see `recovery_threshold`."""
        return max(self._history.sums.recovery.evidence, LOWEST)

    @property
    def harm_recovery_evidence(self) -> float:
        """The logarithm of the e-detector of the end of a harm, in nats; see `recovery_threshold`."""
        return max(self._history.sums.harm_recovery.evidence, LOWEST)

    @property
    def recovery_threshold(self) -> float:
        """The evidence of a recovery from which on an alert of either detector may end, in nats."""
        return float(np.log(RUN_LENGTH))

    @property
    def concept_is_over(self) -> bool:
        """Whether the labels show the end of a concept shift: they are wrong as rarely as confidence promises again."""
        return self._history.sums.recovery.is_over

    @property
    def harm_is_over(self) -> bool:
        """Whether the labels show the end of a harm: they are wrong as rarely as on the reference again."""
        return self._history.sums.harm_recovery.is_over

    def threshold(self, expected_run_time: float, labelled_share: float) -> float:
        """Return the evidence at which a concept shift is an alarm.

        Parameters
        ----------
        expected_run_time : float
            Predictions between two false alarms of the whole stream.
        labelled_share : float
            Share of the predictions that are labelled.
        """
        return float(np.log(max(expected_run_time * labelled_share / SHARE_OF_BUDGET, MIN_RUN_TIME)))

    def harm_threshold(self, expected_run_time: float, labelled_share: float) -> float:
        """Return the evidence at which a harm is an alarm; the parameters are those of `threshold`."""
        return self.threshold(expected_run_time, labelled_share)
