"""`tidemark model check`: a bundle's accuracy, calibration and speed on labelled images, and preprocessing mistakes."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.optimize import linear_sum_assignment

from ..errors import TidemarkError
from ..inference import bundle as bundles
from ..inference.bundle import Bundle
from ..inference.labelled_images import LabelledImages
from ..inference.model import Model
from ..inference.preprocessing_check import Variant, ranked_variants, suggestion
from ..settings import Settings

DEFAULT_LIMIT = 500  # images, on which a dozen variants take about as long as 6,000 predictions
BINS = 15  # bins of confidence for the calibration error
MAX_VARIANTS = 8
MIN_CLASS_ROWS = 5  # images a class, on average, from which an order of the labels can be told from chance


@dataclass(frozen=True)
class Quality:
    """The quality and the speed of a bundle on labelled images."""

    model: str
    images: int
    unreadable: int
    accuracy: float
    mean_confidence: float
    calibration_error: float  # expected, over 15 bins of confidence
    log_loss: float  # nats
    images_per_second: float  # read, decoded and predicted, one after the other
    model_images_per_second: float  # predicted alone, in batches of up to 64
    providers: list[str]


@dataclass(frozen=True)
class CheckedModel:
    """The quality of a bundle, the variants of its preprocessing that were tried, best first, and advice."""

    quality: Quality
    variants: list[Variant]
    advice: list[str]

    def to_json(self) -> dict[str, object]:
        """Return the printed content."""
        variants = [
            {"change": one.change, "settings": one.settings, "accuracy": one.accuracy, "log_loss": one.log_loss}
            for one in self.variants
        ]
        return {**asdict(self.quality), "variants": variants, "advice": self.advice}


def check_model(folder: Path, images: Path, limit: int = DEFAULT_LIMIT) -> CheckedModel:
    """Measure a bundle on labelled images and try the usual mistakes in preprocessing.

    Raises
    ------
    TidemarkError
        The bundle or the images cannot be used.
    """
    bundle = bundles.load(folder)
    labelled = LabelledImages(bundle, images, limit)
    model = Model(bundle, providers=Settings.load().providers)
    quality, confusion = _quality(bundle, model, labelled)
    console = Console(stderr=True)
    with console.status("trying other ways to prepare the input") as status:
        accuracy, variants = ranked_variants(
            model,
            LabelledImages(bundle, images, limit),
            bundle.input,
            geometry=True,
            progress=lambda change: status.update(f"trying {change}"),
        )
    best = suggestion(accuracy, variants, quality.images)
    advice = [] if best is None else [_advice(accuracy, best)]
    reordered = _accuracy_of_best_order(confusion)
    if _is_another_order(max(accuracy, 0.0 if best is None else best.accuracy), reordered, confusion):
        advice = [
            f"accuracy {quality.accuracy:.2f}; with the classes in another order {reordered:.2f}: the labels in "
            "model.toml seem to be in another order than the model's outputs"
        ]
    return CheckedModel(quality, variants[:MAX_VARIANTS], advice)


def preprocessing_warning(bundle: Bundle, images: Path, limit: int) -> str | None:
    """Return advice if another preparation of the pixels fits a sample of labelled images clearly better."""
    sample = LabelledImages(bundle, images, limit)
    model = Model(bundle, providers=Settings.load().providers)
    accuracy, variants = ranked_variants(model, sample, bundle.input, geometry=False, progress=lambda _change: None)
    best = suggestion(accuracy, variants, len(sample))
    return None if best is None else f"{_advice(accuracy, best)} (see `tidemark model check`)"


def _quality(bundle: Bundle, model: Model, labelled: LabelledImages) -> tuple[Quality, NDArray[np.int64]]:
    probabilities, truth = [], []
    started, predicting = time.perf_counter(), 0.0
    for images, labels in labelled.batches():
        before = time.perf_counter()
        rows, _ = model.predict(np.stack([image.pixels for image in images]))
        predicting += time.perf_counter() - before
        probabilities.append(rows)
        truth.append(labels)
    seconds = time.perf_counter() - started
    if not truth:
        raise TidemarkError(f"{labelled.path}: none of {len(labelled)} images can be read")
    p, y = np.concatenate(probabilities).astype(np.float64), np.concatenate(truth)
    predicted, confidence = p.argmax(axis=1), p.max(axis=1)
    confusion = np.zeros((p.shape[1], p.shape[1]), np.int64)
    np.add.at(confusion, (y, predicted), 1)
    quality = Quality(
        model=str(bundle.key),
        images=len(y),
        unreadable=len(labelled.unreadable),
        accuracy=float((predicted == y).mean()),
        mean_confidence=float(confidence.mean()),
        calibration_error=_calibration_error(confidence, predicted == y),
        log_loss=float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean()),
        images_per_second=len(y) / max(seconds, 1e-9),
        model_images_per_second=len(y) / max(predicting, 1e-9),
        providers=model.providers,
    )
    return quality, confusion


def _calibration_error(confidence: NDArray[np.float64], hits: NDArray[np.bool_]) -> float:
    """Return the expected calibration error (Naeini et al. 2015): |accuracy - confidence|, averaged over bins."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=hits - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(hits))


def _accuracy_of_best_order(confusion: NDArray[np.int64]) -> float:
    """Return the accuracy with the one-to-one assignment of outputs to labels that fits best."""
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    return float(confusion[rows, columns].sum() / confusion.sum())


def _is_another_order(accuracy: float, reordered: float, confusion: NDArray[np.int64]) -> bool:
    """Check whether another order of the labels explains the errors, and not merely fits their noise."""
    return bool(confusion.sum() >= MIN_CLASS_ROWS * len(confusion) and reordered - accuracy > 0.3)


def _advice(accuracy: float, best: Variant) -> str:
    return f"accuracy {accuracy:.2f}; with {best.change} {best.accuracy:.2f}: set {best.advice}"
