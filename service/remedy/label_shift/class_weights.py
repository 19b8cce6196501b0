"""Remedy of prior shift for retraining: class weights, as JSON and as code, and indices of a resample."""

import json
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ..adaptation.head import choose_penalty, distil_head, fit
from ..paired_bootstrap import average, compare_posteriors, folds
from ..remedy_context import RemedyContext
from ..result import Improvement, RemedyDetails, RemedyResult
from .corrected_posterior import describe_shifted_classes, prior_weights, proportions
from .cross_fitting import halves_of_span

Matrix = NDArray[np.float64]

FOLDS = 5
FITTED_ROWS = 3000  # rows of the reference on which a retraining is tried
LARGEST_FIT = 1e9  # rows times columns times classes; above it a retraining is not tried
FILE, RESAMPLE = "class_weights.json", "resample.json"


class ClassWeightDetails(RemedyDetails, total=False):
    """The content of the file of class weights."""

    weights: dict[str, float]


class ResampleJson(TypedDict):
    """The examples to take, some more than once: files, or rows of the reference."""

    of: str
    take: list[str | int]


def class_weights(context: RemedyContext) -> RemedyResult:
    """Write the weights that turn training data of the reference's class proportions into the span's.

    The improvement is measured by refitting the last layer with them and without; to retrain the whole model is left
    to its owner.

    Raises
    ------
    RemedyNotApplicable
        The reference has no labels.
    """
    weights = prior_weights(context)
    names = context.span.reference.class_names
    content = ClassWeightDetails(
        weights=dict(zip(names, weights.tolist(), strict=True)), proportions=proportions(context)
    )
    (context.out / FILE).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (context.out / RESAMPLE).write_text(json.dumps(resample(context), ensure_ascii=False) + "\n", encoding="utf-8")
    return RemedyResult(
        name="class-weights",
        kind="label",
        summary=f"Weighs training examples as the span's class proportions ask: {describe_shifted_classes(context)}",
        improvements=_improvements(context),
        files=(FILE, RESAMPLE),
        code=code(weights, names),
        details=content,
    )


def code(weights: Matrix, names: tuple[str, ...]) -> dict[str, str]:
    """Return lines to paste for each library; classes are numbered as the model does."""
    by_index = ", ".join(f"{index}: {weight:.6g}" for index, weight in enumerate(weights))
    listed = ", ".join(f"{weight:.6g}" for weight in weights)
    order = ", ".join(f"{index} = {json.dumps(name, ensure_ascii=False)}" for index, name in enumerate(names))
    return {
        "scikit-learn": (
            "from sklearn.linear_model import LogisticRegression  # or any other with class_weight\n\n"
            f"# {order}\n"
            f"class_weight = {{{by_index}}}\n"
            "classifier = LogisticRegression(class_weight=class_weight)\n"
        ),
        "PyTorch": (
            "import torch\n\n"
            f"# {order}\n"
            f"class_weight = torch.tensor([{listed}])\n"
            "loss = torch.nn.CrossEntropyLoss(weight=class_weight)\n"
        ),
        "Keras": (
            f"# {order}\n"
            f"class_weight = {{{by_index}}}\n"
            "model.fit(images, labels, class_weight=class_weight)\n"
        ),
    }  # fmt: skip


def resample(context: RemedyContext) -> ResampleJson:
    """Return which examples to take, some more than once, so that each class has its estimated share.

    They are of the labelled images where these were given, else of the reference's rows.
    """
    if context.bundle is not None and context.images is not None:
        images = context.require_images()
        source, labels = str(context.images), images.labels
        names: Sequence[str | int] = images.names()
    else:
        labels = context.require_reference_labels()
        source, names = "rows of the reference", list(range(len(labels)))
    rows = stratified(labels, prior_weights(context), context.seed)
    return ResampleJson(of=source, take=[names[index] for index in rows])


def stratified(labels: NDArray[np.int64], weights: Matrix, seed: int) -> NDArray[np.int64]:
    """Return as many indices as there are labels, each class in its weighted share, each example as often as others.

    Parameters
    ----------
    labels : NDArray[int64]
        (n,).
    weights : Matrix
        (k,) of the classes; a class without examples is passed over.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(labels, minlength=len(weights))
    share = counts * weights
    target_counts = np.floor(share / share.sum() * len(labels)).astype(int)
    rest = share / share.sum() * len(labels) - target_counts
    target_counts[np.argsort(-rest, kind="stable")[: len(labels) - target_counts.sum()]] += 1
    parts = []
    for label in np.flatnonzero(target_counts):
        members = np.flatnonzero(labels == label)
        rounds = [rng.permutation(members) for _ in range(-(-target_counts[label] // len(members)))]
        parts.append(np.concatenate(rounds)[: target_counts[label]])
    return rng.permutation(np.concatenate(parts))


def _improvements(context: RemedyContext) -> tuple[Improvement, ...]:
    reference, labels = context.span.reference, context.require_reference_labels()
    rows = np.random.default_rng(context.seed).permutation(len(labels))[:FITTED_ROWS]
    embeddings, labels = reference.embeddings[rows], labels[rows]
    if embeddings.size * reference.classes > LARGEST_FIT:
        return ()
    start = distil_head(embeddings, reference.probabilities[rows])
    alike = np.ones(len(rows))
    penalty = choose_penalty(embeddings, labels, alike, start, context.seed)
    parts = folds(labels, FOLDS, context.seed)

    def refitted(weights: Matrix) -> Matrix:
        posteriors = np.empty(reference.probabilities[rows].shape)
        for part in range(FOLDS):
            held_out = parts == part
            head = fit(embeddings[~held_out], labels[~held_out], weights[~held_out], start, penalty)
            posteriors[held_out] = head.probabilities(embeddings[held_out])
        return posteriors

    measured_on = (
        "last layer refitted with the weights of one half of the span against refitted without, on the reference "
        f"reweighted to the class proportions of the other half, {FOLDS}-fold cross-validation"
    )
    before = refitted(alike)
    first, second = (
        compare_posteriors(
            before,
            refitted(half.fitted[labels]),
            labels,
            measured_on,
            True,
            half.target[labels],
            context.seed,
            half.target_draws,
        )
        for half in halves_of_span(context)
    )
    return tuple(average(*pair) for pair in zip(first, second, strict=True))
