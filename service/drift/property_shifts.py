"""How far each image property of a window has moved."""

import numpy as np

from . import combination
from .fitted_reference import FittedReference
from .intervals import NORMAL_QUANTILE
from .report import PropertyShift
from .tested_window import Outcome, TestedWindow
from .types import FloatArray

MAX_EFFECT = 10.0  # largest standardised difference that is reported
MIN_CHANGE = 1e-4  # relative change of a property's mean below which a constant property counts as unchanged


def property_shifts(
    fitted: FittedReference, window: TestedWindow, outcome: Outcome, level: float
) -> tuple[PropertyShift, ...]:
    """Return the shift of each property, the most significant and largest first, constant ones last.

    Where what is normal depends on the context, the window is compared with calm traffic of its context.
    """
    usual = fitted.sample if outcome.normal is None else outcome.normal.sample
    before, after = usual.properties, window.sample.properties
    if before is None or after is None:
        return ()
    shifts, tested = [], 0
    scaled = fitted.build_views.scaled(before), fitted.build_views.scaled(after)
    for column, name in enumerate(fitted.reference.property_names):
        means = float(before[:, column].mean(dtype=np.float64)), float(after[:, column].mean(dtype=np.float64))
        if fitted.build_views.varying[column]:
            effect, half = _standardised_difference(scaled[0][:, column], scaled[1][:, column])
            p_value = _p_value(outcome, tested)
            shifts.append(PropertyShift(name, p_value, effect, effect - half, effect + half, *means, constant=False))
            tested += 1
        else:
            changed = abs(means[1] - means[0]) > MIN_CHANGE * max(abs(means[0]), MIN_CHANGE)
            effect = float(np.copysign(MAX_EFFECT, means[1] - means[0])) if changed else 0.0
            p_value = outcome.floor if changed else 1.0
            shifts.append(PropertyShift(name, p_value, effect, effect, effect, *means, constant=True))
    return tuple(sorted(shifts, key=lambda shift: (shift.constant, shift.p_value > level, -abs(shift.effect))))


def _p_value(outcome: Outcome, column: int) -> float:
    components = [outcome.values[f"{test} property"].components[column] for test in ("mean", "ks")]
    return combination.combined(np.stack(components))


def _standardised_difference(before: FloatArray, after: FloatArray) -> tuple[float, float]:
    """Return the difference of means in deviations within the samples, and half of its 95 % interval.

    References
    ----------
    Hedges and Olkin (1985), Statistical methods for meta-analysis, chapter 5.
    """
    n, m = len(before), len(after)
    within = np.sqrt((n * before.var(dtype=np.float64) + m * after.var(dtype=np.float64)) / (n + m))
    gap = float(after.mean(dtype=np.float64) - before.mean(dtype=np.float64))
    effect = float(np.clip(gap / max(within, 1e-12), -MAX_EFFECT, MAX_EFFECT))
    return effect, NORMAL_QUANTILE * float(np.sqrt(1 / n + 1 / m + effect**2 / (2 * (n + m))))
