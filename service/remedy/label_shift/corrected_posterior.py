"""Remedy of prior shift: the model's posteriors corrected for the span's class proportions."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...drift.temperature_scaling import PriorCorrection
from ..adaptation.onnx_export import with_priors
from ..bundle_baseline import write_baseline
from ..paired_bootstrap import average, compare_posteriors, folds
from ..remedy_context import RemedyContext
from ..result import ClassShareJson, Improvement, RemedyResult
from .cross_fitting import HalfSpan, halves_of_span
from .priors_file import CalibrationValues, ClassShare, Priors

Matrix = NDArray[np.float64]

FOLDS = 5
MIN_LABELS = 50  # fed-back labels from which the improvement is measured on them as well
FOLDER = "corrected-posterior"
MAX_NAMED_CLASSES = 3  # classes named in a sentence
MODEL_DEPENDENCE_NOTE = (
    "The images changed as well, so that these proportions rely on predictions for images unlike the training data."
)


def corrected_posterior(context: RemedyContext) -> RemedyResult:
    """Correct posteriors for the estimated class proportions: as a switch for serving, and as a bundle.

    Raises
    ------
    RemedyNotApplicable
        The reference has no labels.
    """
    weights = prior_weights(context)
    reference = context.span.reference
    correction = PriorCorrection.fitted(reference.probabilities, context.require_reference_labels(), weights)
    on_reference, of_calibration = _on_reference(context)
    alone = {improvement.metric: improvement.amount for improvement in of_calibration}
    remedy = RemedyResult(
        name="corrected-posterior",
        kind="label",
        summary="Corrects the model's answers for other class proportions: "
        f"{describe_shifted_classes(context)} Calibrating the model is part of it and would alone improve accuracy "
        f"by {100 * alone['accuracy']:.2f} points and log-loss by {alone['log-loss']:.4f}.",
        improvements=(*on_reference, *_on_feedback(context, correction)),
        missing=context.without_bundle,
        details={
            "proportions": proportions(context),
            "calibration_slope": correction.slope,
            "by_calibration_alone": alone,
        },
    )
    if not (remedy.improves or context.force):
        return remedy
    path = _priors(context, correction).write(context.out)
    files = [path.name]
    code = {"serving": f"tidemark serve --bundle BUNDLE --correct-priors {path}"}
    if context.bundle is not None:
        written = with_priors(context.bundle, correction, context.out / FOLDER)
        write_baseline(written.folder, context.span, correction(context.span.sample.probabilities), "mix")
        files.append(f"{FOLDER}/")
        code["bundle"] = f"tidemark serve --bundle {written.folder}"
    return replace(remedy, exported=True, files=tuple(files), code=code)


def prior_weights(context: RemedyContext) -> Matrix:
    """Return the estimated class proportions over the reference's (k,); 0 where the reference has none of a class."""
    return np.array(list(context.require_proportions().weights.values()))


def proportions(context: RemedyContext) -> list[ClassShareJson]:
    """Return each class's share in the reference and the span, with its interval and weight."""
    shift = context.require_proportions()
    return [
        {
            "label": name,
            "reference": shift.reference[name],
            "estimated": shift.estimated[name],
            "low": shift.low[name],
            "high": shift.high[name],
            "weight": shift.weights[name],
        }
        for name in context.span.reference.class_names
    ]


def describe_shifted_classes(context: RemedyContext) -> str:
    """Name the classes whose shares moved most, as a sentence's end."""
    sure = [row for row in proportions(context) if not row["low"] <= row["reference"] <= row["high"]]
    sure.sort(key=lambda row: -abs(row["estimated"] - row["reference"]))
    named = ", ".join(
        f"{row['label']}: {row['reference']:.1%} → {row['estimated']:.1%}" for row in sure[:MAX_NAMED_CLASSES]
    )
    more = f" and {len(sure) - MAX_NAMED_CLASSES} more" if len(sure) > MAX_NAMED_CLASSES else ""
    text = f"{named}{more}." if sure else "none of them moved for sure."
    return f"{text} {MODEL_DEPENDENCE_NOTE}" if "covariate" in context.kinds else text


def model_of(stream: str) -> str:
    """Return the `name:version` of a stream `name:version[/slice]`."""
    return stream.partition("/")[0]


def _priors(context: RemedyContext, correction: PriorCorrection) -> Priors:
    return Priors(
        model=model_of(context.span.stream),
        sha256=context.span.sha256,
        classes=tuple(ClassShare.model_validate(row) for row in proportions(context)),
        calibration=CalibrationValues(slope=correction.slope, bias=tuple(correction.bias.tolist())),
        predictions=len(context.span),
    )


def _on_reference(context: RemedyContext) -> tuple[tuple[Improvement, ...], tuple[Improvement, ...]]:
    """Return the improvements by the correction, and by its calibration alone: each half of the span judges the
    correction to the other half's class proportions."""
    first, second = (_evaluate(context, half) for half in halves_of_span(context))
    by_correction, by_calibration = (
        tuple(average(*pair) for pair in zip(*pairs, strict=True)) for pairs in zip(first, second, strict=True)
    )
    return by_correction, by_calibration


def _evaluate(
    context: RemedyContext, half: HalfSpan
) -> tuple[tuple[Improvement, Improvement], tuple[Improvement, Improvement]]:
    reference, labels = context.span.reference, context.require_reference_labels()
    parts = folds(labels, FOLDS, context.seed)
    after, alone = np.empty((2, *reference.probabilities.shape))
    for part in range(FOLDS):
        held_out = parts == part
        correction = PriorCorrection.fitted(reference.probabilities[~held_out], labels[~held_out], half.fitted)
        after[held_out] = correction(reference.probabilities[held_out])
        alone[held_out] = replace(correction, weights=np.ones(len(half.fitted)))(reference.probabilities[held_out])
    measured_on = (
        "reference reweighted to the class proportions of one half of the span, corrected by those of the other, "
        f"{FOLDS}-fold cross-validation"
    )
    weights, draws = half.target[labels], half.target_draws

    def against(posterior: Matrix) -> tuple[Improvement, Improvement]:
        return compare_posteriors(
            reference.probabilities, posterior, labels, measured_on, True, weights, context.seed, draws
        )

    return against(after), against(alone)


def _on_feedback(context: RemedyContext, correction: PriorCorrection) -> tuple[Improvement, ...]:
    span = context.span
    labelled = span.labelled
    if labelled.sum() < MIN_LABELS:
        return ()
    before = span.sample.probabilities[labelled]
    measured_on = f"{labelled.sum()} predictions of the span whose labels came back"
    return compare_posteriors(before, correction(before), span.labels[labelled], measured_on, False, seed=context.seed)
