"""Which of the shifts a drifted window shows."""

from dataclasses import dataclass

import numpy as np

from .proportions import total_variation
from .report import Kind
from .residual import Residual
from .types import FloatArray

RESIDUAL_LEVEL = 0.01  # p-value at or below which class proportions do not explain a window
ERROR_MARGIN = 2.0  # factor by which a shifted model's own estimate of its errors may be too low


@dataclass(frozen=True, eq=False)
class Proportions:
    """Class proportions of a window and of the reference, each (k,).

    Attributes
    ----------
    reference : FloatArray
        Shares of the classes in the reference, at which posteriors are calibrated.
    normal : FloatArray
        Shares that are normal in the window's context; the reference's if they do not depend on any.
    estimated : FloatArray
        Estimate for the window.
    low, high : FloatArray
        95 % interval of the estimate.
    moments : FloatArray
        The estimate by black box shift estimation, of which the first is independent.
    """

    reference: FloatArray
    normal: FloatArray
    estimated: FloatArray
    low: FloatArray
    high: FloatArray
    moments: FloatArray


def name_kind(residual: Residual, shares: Proportions, errors: float) -> Kind:
    """Name the kind of a drifted window.

    Class proportions that explain the window make it `label`, otherwise it is `covariate`. It is `both` if the
    proportions moved by more than the covariate change can have made up: a changed image moves a prediction to
    another class only if one of the two predictions is wrong, so at most by the share of errors.

    Parameters
    ----------
    residual : Residual
        Residual of the window at its estimated class proportions.
    shares : Proportions
        The class proportions.
    errors : float
        The expected share of wrong predictions in reference and window together.
    """
    if residual.p_value > RESIDUAL_LEVEL:
        return "label"
    prior = shares.normal
    certain = np.where(shares.low > prior, shares.low - prior, np.maximum(prior - shares.high, 0))
    distance = min(total_variation(shares.moments, prior), total_variation(shares.estimated, prior))
    noise = float((shares.high - shares.low).sum() / 4)  # total variation that half of each interval's width allows
    return "both" if certain.sum() > 0 and distance > ERROR_MARGIN * errors + noise else "covariate"
