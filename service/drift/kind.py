"""Which of the shifts a drifted window shows."""

import numpy as np
from numpy.typing import NDArray

from .proportions import total_variation
from .report import Kind
from .residual import Residual

Matrix = NDArray[np.float64]

RESIDUAL_LEVEL = 0.01
ERROR_MARGIN = 2.0  # by which a shifted model's own estimate of its errors may be too low


def name_kind(drifted: bool, residual: Residual, prior: Matrix, moments: Matrix, errors: float) -> Kind:
    """Name the kind of a window's drift.

    Class proportions that explain the window make it `label`, else it is `covariate`. It is `both` where the
    proportions moved by more than the covariate change can have made up: a changed image moves a prediction to
    another class only where one of the two predictions is wrong, so at most by the share of errors.

    Parameters
    ----------
    prior : (k,) class proportions of the reference.
    moments : (k,) the window's class proportions by black box shift estimation.
    errors : the expected share of wrong predictions in reference and window together.
    """
    if not drifted:
        return "none"
    if residual.p_value > RESIDUAL_LEVEL:
        return "label"
    certain = np.where(residual.low > prior, residual.low - prior, np.maximum(prior - residual.high, 0))
    moved = min(total_variation(moments, prior), total_variation(residual.proportions, prior))
    return "both" if certain.sum() > 0 and moved > ERROR_MARGIN * errors + certain_noise(residual) else "covariate"


def certain_noise(residual: Residual) -> float:
    """Return the total variation that the interval's half widths allow."""
    return float((residual.high - residual.low).sum() / 4)
