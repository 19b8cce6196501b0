"""Log-likelihood ratios that a class, or a group of rare classes, became rarer or commoner."""

import numpy as np
from scipy import special

from .rare_classes import rare_class_groups
from .temperature_scaling import LOG_OFFSET, TemperatureScaling
from .types import Float32Array, IntArray

ODDS = (0.05, 0.4, 2 / 3, 1.5, 3.0, 10.0)  # factors on a class's odds under the alternatives tested
SHARE_OFF = 0.05  # share of references of which some class share is farther off than the margin that is left for it


class ClassRatios:
    """For each class or group c and factor r on its odds log((1 + (r - 1) p(c|x)) / (1 + (r - 1) pi_c)).

    Where the posterior is calibrated, this is the log-likelihood ratio of that label shift. There pi_c is the share on
    the reference, moved towards the alternative by as many standard errors as the largest error of all classes has in
    one reference of twenty: of many classes one share is always off, and a ratio whose drift is positive for the
    reference's sake would alarm for ever.

    Parameters
    ----------
    calibration : TemperatureScaling
        Calibration of the model's probabilities.
    probabilities : float32 (n, k)
        Probabilities of the reference's rows.

    Attributes
    ----------
    count : int
        Number of ratios.
    """

    def __init__(self, calibration: TemperatureScaling, probabilities: Float32Array) -> None:
        self._slope, self._bias = np.float32(calibration.slope), calibration.bias.astype(np.float32)
        posterior = self._posterior(probabilities)
        members = rare_class_groups(posterior.astype(np.float64))
        self._classes, self._first = _grouped_classes(members)
        self.count = members.shape[1] * len(ODDS)
        shares = self._group_shares(posterior).astype(np.float64)
        errors = shares.std(axis=0)[:, None] / np.sqrt(len(probabilities))
        margin = special.ndtri(1 - SHARE_OFF / (2 * max(members.shape[1], 1))) * errors
        self._factors = (np.array(ODDS) - 1).astype(np.float32)
        nearest = np.clip(shares.mean(axis=0)[:, None] + np.sign(self._factors) * margin, 0, 1)
        self._floors = np.log1p(nearest * self._factors).astype(np.float32)

    def __call__(self, probabilities: Float32Array) -> Float32Array:
        """Return the ratios (m, count) of predictions from their probabilities (m, k)."""
        ratios = self._group_shares(self._posterior(probabilities))[:, :, None] * self._factors
        np.log1p(ratios, out=ratios)
        ratios -= self._floors
        return ratios.reshape(len(probabilities), self.count)

    def _posterior(self, probabilities: Float32Array) -> Float32Array:
        """Return calibrated probabilities as `TemperatureScaling` does, in float32."""
        scores = probabilities + np.float32(LOG_OFFSET)
        np.log(scores, out=scores)
        scores *= self._slope
        scores += self._bias
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def _group_shares(self, posterior: Float32Array) -> Float32Array:
        """Return the probability (m, groups) of each group."""
        if self._classes is None:
            return posterior
        if not len(self._first):
            return posterior[:, :0]
        return np.asarray(np.add.reduceat(posterior[:, self._classes], self._first, axis=1))


def _grouped_classes(members: Float32Array) -> tuple[IntArray | None, IntArray]:
    """Return the classes in the order of their groups, None where each class is a group of its own, and the place of
    each group's first class among them.

    Parameters
    ----------
    members : float32 (k, groups)
        1 where a class belongs to a group.
    """
    k, groups = members.shape
    if groups == k and (members == np.eye(k)).all():
        return None, np.arange(k)
    group, classes = np.nonzero(members.T)
    return classes, np.searchsorted(group, np.arange(groups))
