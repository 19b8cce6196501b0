"""Tries the usual mistakes in preprocessing on labelled images: does another setting of `model.toml` fit better?"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .bundle_spec import InputSettings, InputSpec
from .images import DecodedImage
from .labelled_images import LabelledImages
from .model import Model, ModelFailed
from .presets import IMAGENET

MIN_IMPROVEMENT = 0.05  # smallest improvement in accuracy for which another setting is suggested
Z = 3.0  # standard deviations by which it has to be better, since a dozen settings are tried
LEAST_PROBABILITY = 1e-12  # bounds the log loss of an image whose class the model excludes
ROUNDS = 2  # settings that are combined at most: the best one, and the best one in addition

Setting = str | float | tuple[float, ...]  # a value of InputSettings
RANGES: dict[str, InputSettings] = {
    "pixels in 0..1": {"scale": 1 / 255, "mean": (0.0,), "std": (1.0,)},
    "pixels in 0..255": {"scale": 1.0, "mean": (0.0,), "std": (1.0,)},
    "pixels in -1..1": {"scale": 1 / 127.5, "mean": (1.0,), "std": (1.0,)},
}
COLOUR_RANGES: dict[str, InputSettings] = {
    "ImageNet's mean and deviation": {"scale": 1 / 255, **IMAGENET},
    "Caffe's mean of BGR": {"mode": "BGR", "scale": 1.0, "mean": (103.939, 116.779, 123.68), "std": (1.0,)},
}
INVERTED: InputSettings = {"scale": -1 / 255, "mean": (-1.0,), "std": (1.0,)}
GEOMETRIES: dict[str, InputSettings] = {
    "images squashed": {"resize": "squash", "crop": 1.0},
    "images cropped": {"resize": "crop", "crop": 1.0},
    "images cropped to 7/8": {"resize": "crop", "crop": 0.875},
    "images padded": {"resize": "pad", "crop": 1.0},
}


@dataclass(frozen=True)
class _Outcome:
    """What a preparation leads to: which images are classified correctly, and the log loss of each in nats."""

    hits: NDArray[np.bool_]
    losses: NDArray[np.float64]

    @property
    def rank(self) -> tuple[float, float]:
        """Larger for a better preparation: its accuracy, and among equal ones a smaller log loss."""
        return float(self.hits.mean()), -float(self.losses.mean())


@dataclass(frozen=True)
class Variant:
    """Another way to prepare the input: what changes, the settings, and the accuracy and log loss (nats) with it."""

    change: str
    spec: InputSpec
    settings: InputSettings
    accuracy: float
    log_loss: float

    @property
    def advice(self) -> str:
        """The lines to write into `model.toml`."""
        return ", ".join(f"{name} = {_toml(value)}" for name, value in self.settings.items())


def ranked_variants(
    model: Model, images: LabelledImages, spec: InputSpec, geometry: bool, progress: Callable[[str], None]
) -> tuple[float, list[Variant]]:
    """Return the accuracy as the input is prepared now, and the variants tried, best first.

    Of equal accuracies the one with the smaller log loss comes first.

    Parameters
    ----------
    spec : InputSpec
        How the input is prepared now.
    geometry : bool
        Whether other ways to bring images to the model's size are tried, for which they are decoded again.
    progress : Callable[[str], None]
        Called with each variant's change before it is tried.
    """
    outcome_of = _Outcomes(model, images, spec)
    present = outcome_of(spec)
    variants: list[Variant] = []
    base, change, outcome = spec, "", present
    for _ in range(ROUNDS):
        candidates = []
        for name, candidate in _candidates(base, geometry):
            if not _difference(spec, candidate):
                continue
            progress(name)
            candidates.append((f"{change} and {name}" if change else name, candidate, outcome_of(candidate)))
        variants += [_variant(name, spec, candidate, result) for name, candidate, result in candidates]
        best = max(candidates, key=lambda entry: entry[2].rank, default=None)
        if best is None or not _is_better(best[2].hits, outcome.hits):
            break
        change, base, outcome = best
    return float(present.hits.mean()), sorted(variants, key=lambda one: (-one.accuracy, one.log_loss))


def _variant(change: str, spec: InputSpec, candidate: InputSpec, outcome: _Outcome) -> Variant:
    accuracy, loss = float(outcome.hits.mean()), float(outcome.losses.mean())
    return Variant(change, candidate, _difference(spec, candidate), accuracy, loss)


def suggestion(present_hits: float, variants: list[Variant], count: int) -> Variant | None:
    """Return the variant that is clearly better than the present preparation, if there is one."""
    if not variants:
        return None
    best = variants[0]
    deviation = np.sqrt(max(best.accuracy * (1 - best.accuracy) + present_hits * (1 - present_hits), 1 / count) / count)
    return best if best.accuracy - present_hits > max(MIN_IMPROVEMENT, Z * deviation) else None


class _Outcomes:
    """Return what a preparation leads to; images at the present size and crop are decoded once."""

    def __init__(self, model: Model, images: LabelledImages, spec: InputSpec) -> None:
        self._model, self._images = model, images
        self._geometry = _geometry(spec)
        self._decoded = [(_pixels(decoded), labels) for decoded, labels in images.batches(spec)]

    def __call__(self, spec: InputSpec) -> _Outcome:
        network = self._model.with_input(spec)
        batches: Iterable[tuple[NDArray[np.uint8], NDArray[np.int64]]] = self._decoded
        if _geometry(spec) != self._geometry:
            batches = ((_pixels(decoded), labels) for decoded, labels in self._images.batches(spec))
        outcomes = [_outcome(network, pixels, labels) for pixels, labels in batches]
        return _Outcome(
            np.concatenate([one.hits for one in outcomes]), np.concatenate([one.losses for one in outcomes])
        )


def _outcome(network: Model, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> _Outcome:
    """Return which images are classified rightly, none if the model fails on them, and the log loss of each."""
    try:
        probabilities, _ = network.predict(pixels)
    except ModelFailed:
        return _Outcome(np.zeros(len(labels), np.bool_), np.full(len(labels), -np.log(LEAST_PROBABILITY)))
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return _Outcome(probabilities.argmax(axis=1) == labels, -np.log(np.maximum(of_truth, LEAST_PROBABILITY)))


def _pixels(images: list[DecodedImage]) -> NDArray[np.uint8]:
    return np.stack([image.pixels for image in images])


def _geometry(spec: InputSpec) -> tuple[object, ...]:
    """Return the settings on which the pixels of a decoded image depend."""
    return spec.size, spec.pixel_mode, spec.resize, spec.crop, spec.interpolation


def _is_better(hits: NDArray[np.bool_], before: NDArray[np.bool_]) -> bool:
    """Compare two preparations on the same images by the images on which they disagree (McNemar)."""
    won, lost = int((hits & ~before).sum()), int((before & ~hits).sum())
    return bool(won - lost > Z * np.sqrt(max(won + lost, 1)))


def _candidates(spec: InputSpec, geometry: bool) -> Iterator[tuple[str, InputSpec]]:
    changes: dict[str, InputSettings] = dict(RANGES)
    if spec.channels == 3:
        other = "RGB" if spec.mode == "BGR" else "BGR"
        changes = {f"{other} channels": {"mode": other}, **changes, **COLOUR_RANGES}
    else:
        changes["inverted grey levels"] = INVERTED
    if geometry:
        changes |= GEOMETRIES
    for name, settings in changes.items():
        candidate = InputSpec.model_validate(spec.model_dump() | settings)
        if _difference(spec, candidate):
            yield name, candidate


def _difference(spec: InputSpec, other: InputSpec) -> InputSettings:
    """Return the settings in which another preparation differs, those of numbers by more than rounding."""
    names = ("mode", "scale", "mean", "std", "resize", "crop")
    different = {name: getattr(other, name) for name in names if _differs(getattr(spec, name), getattr(other, name))}
    return cast("InputSettings", different)


def _differs(value: Setting, other: Setting) -> bool:
    if isinstance(value, str):
        return bool(value != other)
    a, b = np.broadcast_arrays(np.atleast_1d(value), np.atleast_1d(other))
    return not np.allclose(a, b, rtol=1e-6, atol=1e-9)


def _toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"[{', '.join(f'{one:g}' for one in value)}]" if isinstance(value, tuple) else f"{value:.8g}"
