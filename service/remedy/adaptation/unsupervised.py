"""Adaptation to a span without its labels: fitted on one half and judged on the other, written where it gains."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..context import Context
from ..paired_bootstrap import confusion, gain, gains
from ..result import Gain, Remedy
from .head import Bend, Head
from .onnx_export import with_head

Matrix = NDArray[np.float64]
Floats = NDArray[np.float32]

HALVES = 2
MIN_LABELS = 50  # fed back, from which the gain is measured on them
DOUBT = 0.002  # of accuracy, more than the judged gain of any of 20 calm spans of 500 predictions
JUDGED = (
    "this span, held back by halves, where the old and the adapted answers differ, judged by the mean of both "
    "calibrated posteriors: cautious, for it believes the old answers as much as the new"
)


class Calibrated(Protocol):
    """Turns posteriors (m, k) into calibrated ones (m, k)."""

    def __call__(self, probabilities: Floats) -> Matrix: ...


@dataclass(frozen=True, eq=False)
class Adapted:
    """A last layer, on embeddings bent where it needs that, and how far its confidence can be believed."""

    head: Head
    calibration: Calibrated
    details: dict[str, Any]
    bend: Bend | None = None

    def probabilities(self, embeddings: Floats) -> Floats:
        """Return posteriors (m, k) of embeddings (m, d)."""
        read = embeddings if self.bend is None else self.bend(embeddings)
        return self.head.probabilities(read).astype(np.float32)


def adaptation(
    context: Context,
    name: str,
    summary: str,
    before: Calibrated,
    fit: Callable[[Floats], Adapted],
) -> Remedy:
    """Measure what an adaptation brings, and write it as a bundle where it gains or `--force` asks for it.

    Parameters
    ----------
    before : calibration of the model as it is.
    fit : the adaptation to embeddings (m, d) of the span.
    """
    span = context.span
    halves = np.random.default_rng(context.seed).permutation(len(span)) % HALVES
    after = np.empty(span.sample.probabilities.shape, np.float32)
    believed = np.empty(after.shape)
    for half in range(HALVES):
        held = halves == half
        adapted = fit(span.sample.embeddings[~held])
        after[held] = adapted.probabilities(span.sample.embeddings[held])
        believed[held] = adapted.calibration(after[held])
    old = span.sample.probabilities
    whole = fit(span.sample.embeddings)
    known = span.labelled
    details = whole.details | {"changed_answers": float((old.argmax(axis=1) != after.argmax(axis=1)).mean())}
    if known.sum() >= MIN_LABELS:
        words = f"{known.sum()} predictions of the span whose labels came back, each held back from the fit"
        accuracy, loss = gains(old[known], after[known], span.labels[known], words, False, seed=context.seed)
        measured = accuracy
        details["log_loss"] = {"before": loss.before, "after": loss.after}
        details["confusion"] = {
            "classes": list(span.reference.class_names),
            "before": confusion(old[known], span.labels[known]),
            "after": confusion(after[known], span.labels[known]),
        }
    else:
        measured = judged(old, before(old), after, believed, context.seed)
    remedy = Remedy(name=name, kind="covariate", summary=summary, gains=(measured,), details=details)
    if context.bundle is None or not (remedy.gaining or context.force):
        return remedy
    written = with_head(context.bundle, whole.head, context.out / name, whole.bend)
    code = {"bundle": f"tidemark serve --bundle {written.folder}"}
    return replace(remedy, exported=True, files=(f"{name}/",), code=code)


def judged(old: Floats, old_believed: Matrix, new: Floats, new_believed: Matrix, seed: int) -> Gain:
    """Estimate the gain in accuracy without labels, from posteriors (m, k) and their calibrated selves.

    Each answer is right with the probability that the mean of both calibrated posteriors gives it. Where both answers
    agree nothing is gained. Judged by the new posterior alone every changed answer would look like a gain, and by the
    old one like a loss; their mean favours neither, so that an adaptation to nothing gains nothing. Where a model is
    too sure of what it no longer knows, the estimate lies below the truth. The interval is wider by DOUBT on both
    sides: the bootstrap knows how rows vary, and not that the judges err on all of them together.
    """
    rows = np.arange(len(old))
    mean = (old_believed + new_believed) / 2
    before, after = mean[rows, old.argmax(axis=1)], mean[rows, new.argmax(axis=1)]
    found = gain("accuracy", before, after, JUDGED, True, seed=seed)
    return replace(found, low=found.low - DOUBT, high=found.high + DOUBT)
