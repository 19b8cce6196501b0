"""Puts the outcome of a window's tests and its diagnosis into the report."""

import numpy as np

from . import combination, label_shift, witness
from .diagnosis import Diagnosis
from .estimates import LabelShift
from .fitted_reference import FittedReference
from .intervals import NORMAL_QUANTILE, wilson_interval
from .kind import Proportions
from .mmd import witness_function
from .property_shifts import property_shifts
from .report import RepeatShare, Result, WindowReport
from .summary import Findings, summarise, summarise_for_alert
from .tested_window import Outcome, TestedWindow
from .types import Float32Array, FloatArray, IntArray
from .window_repeats import Repeats


def build_report(
    fitted: FittedReference, window: TestedWindow, outcome: Outcome, diagnosis: Diagnosis, p_value: float, level: float
) -> WindowReport:
    """Return the report of a window that was tested.

    Parameters
    ----------
    p_value : float
        The p-value of the finding: of the tests, or of the repeats if these alone are unusual.
    level : float
        Level at or below which a p-value counts as drift.
    """
    embedding = fitted.standardise(window.views.embedding)
    witnesses = witness_function(fitted.standardised, embedding, fitted.bandwidth)
    names = fitted.reference.class_names
    new_kind = None
    if outcome.p_value <= level:
        new_kind = witness.find_new_kind(fitted.standardised, embedding, fitted.bandwidth, witnesses)
    findings = Findings(
        kind=diagnosis.kind,
        p_value=p_value,
        p_value_floor=outcome.floor,
        properties=property_shifts(fitted, window, outcome, level),
        label_shift=_label_shift(diagnosis.proportions, names) if fitted.has_labels else None,
        performance=diagnosis.performance if fitted.has_accuracy else None,
        classes_moved=witness.classes_moved(
            names, _usual_embedding(fitted, outcome), (embedding, window.views.predicted)
        ),
        repeats=repeat_share(window.repeats, level),
        new_kind=new_kind,
        size=window.size,
        in_context=outcome.normal is not None,
    )
    return WindowReport(
        state="tested",
        size=window.size,
        duplicates=window.repeats.count,
        tested=len(window.rows),
        p_value=p_value,
        p_value_floor=outcome.floor,
        evidence=max(outcome.evidence, float(-np.log(p_value))),
        drifted=diagnosis.kind != "none",
        kind=diagnosis.kind,
        tests=_results(window, outcome, diagnosis),
        label_shift=findings.label_shift,
        performance=findings.performance,
        properties=tuple(findings.properties),
        witnesses=witness.rank_witnesses(witnesses, window.rows, fitted.rows),
        classes_moved=tuple(findings.classes_moved),
        repeats=findings.repeats,
        new_kind=findings.new_kind,
        design_effect=outcome.design_effect,
        summary=summarise(findings),
        alert_summary=summarise_for_alert(findings),
    )


def build_untested_report(window: TestedWindow, p_value_floor: float, level: float, needed: int) -> WindowReport:
    """Return the report of a window with too few predictions, or too few different ones."""
    different = len(window.rows)
    repeats = repeat_share(window.repeats, level)
    if window.size < needed:
        state, p_value = "warming_up", 1.0
        summary = f"Warming up: {window.size} predictions are too few, {needed} are needed"
        alert_summary = f"The last {window.size} predictions are too few to be tested on their own"
    else:
        state, p_value = "not_tested", max(repeats.p_value, p_value_floor)
        summary = f"Only {different} of {window.size} predictions differ: too few to be tested"
        if repeats.unusual:
            times = "the same image" if different == 1 else f"the same {different} images"
            summary = f"{times.capitalize()} again and again: {window.size} predictions, {different} different"
        alert_summary = summary
    is_finding = state == "not_tested" and repeats.unusual
    return WindowReport(
        state="warming_up" if state == "warming_up" else "not_tested",
        size=window.size,
        duplicates=window.repeats.count,
        p_value=p_value,
        p_value_floor=p_value_floor,
        evidence=float(-np.log(p_value)),
        drifted=is_finding,
        kind="repeats" if is_finding else "none",
        tests=_repeat_result(window),
        repeats=repeats,
        summary=summary,
        alert_summary=alert_summary,
    )


def repeat_share(repeats: Repeats, level: float) -> RepeatShare:
    """Return the repeats as the report has them."""
    return RepeatShare(
        share=repeats.share,
        expected_share=repeats.expected_share,
        largest_share=repeats.largest_share,
        p_value=repeats.p_value,
        unusual=repeats.unusual(level),
    )


def _usual_embedding(fitted: FittedReference, outcome: Outcome) -> tuple[Float32Array, IntArray]:
    """Return standardised embeddings and predicted classes of what is normal: of the window's context, or the
    reference's."""
    if outcome.normal is None:
        return fitted.standardised, fitted.predicted
    return fitted.standardise(outcome.normal.views.embedding), outcome.normal.views.predicted


def _results(window: TestedWindow, outcome: Outcome, diagnosis: Diagnosis) -> dict[str, Result]:
    results = {}
    for family, names in outcome.families.items():
        beyond = {name: _excess_effect(outcome.values[name].effect) for name in names}
        largest = max(names, key=lambda name: beyond[name])
        half = NORMAL_QUANTILE * float(outcome.resampled[largest].effect.std())
        results[family] = Result(
            statistic=float(outcome.values[names[0]].statistic[0]),
            p_value=combination.combined(outcome.table(names)),
            effect=beyond[largest],
            effect_low=max(beyond[largest] - half, 0.0),
            effect_high=min(beyond[largest] + half, 1.0),
        )
    results |= _repeat_result(window)
    if diagnosis.residual is not None:
        residual = diagnosis.residual
        results["residual"] = Result(residual.statistic, residual.p_value, *residual.effects)
    return results


def _repeat_result(window: TestedWindow) -> dict[str, Result]:
    repeats = window.repeats
    if not repeats.count:
        return {}
    low, high = (max(bound - repeats.expected_share, 0.0) for bound in wilson_interval(repeats.count, window.size))
    return {"repeats": Result(repeats.share, repeats.p_value, repeats.excess, low, high)}


def _excess_effect(effects: FloatArray) -> float:
    """Return the observed effect beyond the median of the null distribution, in 0..1."""
    return float(np.clip(effects[0] - np.median(effects[1:]), 0, 1))


def _label_shift(shares: Proportions, names: tuple[str, ...]) -> LabelShift:
    weights = label_shift.importance_weights(shares.estimated, shares.reference, shares.low, shares.high)

    def named(values: FloatArray) -> dict[str, float]:
        return dict(zip(names, values.tolist(), strict=True))

    return LabelShift(
        reference=named(shares.normal),
        estimated=named(shares.estimated),
        low=named(shares.low),
        high=named(shares.high),
        weights=named(weights),
        moment_estimate=named(shares.moments),
    )
