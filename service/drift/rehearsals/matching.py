"""Finds the mixture of rehearsals whose distribution is nearest to a window's."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from ..types import FloatArray

SUM_WEIGHT = 100.0  # weight of the condition that the shares sum to one, next to the fingerprints' own values


@dataclass(frozen=True, eq=False)
class Match:
    """A mixture of rehearsals.

    Attributes
    ----------
    shares : float (c,)
        Share of each candidate, at least 0 and 1 in all.
    explained : float
        The part of the squared distance between window and unchanged images that the mixture takes away; 1 for a
        perfect match.
    residual : float
        The squared distance between window and mixture.
    """

    shares: FloatArray
    explained: float
    residual: float


def match_mixture(fingerprint: FloatArray, candidates: FloatArray, unchanged: FloatArray) -> Match:
    """Return the mixture of candidates that is nearest to a fingerprint.

    Parameters
    ----------
    fingerprint : float (P,)
        Fingerprint of the window.
    candidates : float (c, P)
        Fingerprints of rehearsals and of the unchanged images.
    unchanged : float (P,)
        Fingerprint of the unchanged images.

    References
    ----------
    Lawson and Hanson (1974), Solving least squares problems, for non-negative least squares. Iyer, Nath and Sarawagi
    (2014), Maximum mean discrepancy for class ratio estimation, for the mixture by kernel mean matching.
    """
    system = np.concatenate([candidates.T, np.full((1, len(candidates)), SUM_WEIGHT)])
    shares, _ = optimize.nnls(system, np.append(fingerprint, SUM_WEIGHT))
    shares /= shares.sum()
    residual = float(((fingerprint - shares @ candidates) ** 2).sum())
    total = float(((fingerprint - unchanged) ** 2).sum())
    return Match(shares, 1 - residual / max(total, 1e-12), residual)
