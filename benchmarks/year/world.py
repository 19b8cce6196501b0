"""A synthetic classifier and what its images can go through, as predictions without end."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tidemark.drift import Reference

Floats = NDArray[np.float64]
CLASSES, DIMENSIONS = 5, 16
SPREAD = 1.1  # distance between the centres of classes in deviations of a class
DEGREES = 8  # degrees of freedom of the t distribution of images around their class
CENTRES = np.random.default_rng(7).normal(size=(CLASSES, DIMENSIONS)) * SPREAD


@dataclass(frozen=True)
class Condition:
    """The state of the images at a time.

    Parameters
    ----------
    mix : tuple of float
        The share of each class.
    shift : float
        By how many deviations all images are moved: another camera.
    noise : float
        The deviation of noise on the images, over theirs: rain.
    swapped : bool
        Whether the first two classes have changed their meaning.
    """

    mix: tuple[float, ...] = (1 / CLASSES,) * CLASSES
    shift: float = 0.0
    noise: float = 0.0
    swapped: bool = False

    def with_values(self, **values: Any) -> "Condition":
        """Return the condition with some values replaced."""
        return replace(self, **values)


@dataclass(frozen=True)
class Predictions:
    """Predictions of images: embeddings (n, d), probabilities (n, k), properties (n, p), true labels (n,)."""

    embeddings: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    properties: NDArray[np.float32]
    labels: NDArray[np.int64]


def predictions(count: int, condition: Condition, rng: np.random.Generator) -> Predictions:
    """Return predictions of images under a condition."""
    classes = rng.choice(CLASSES, count, p=condition.mix)
    images = CENTRES[classes] + rng.standard_t(DEGREES, size=(count, DIMENSIONS)) + condition.shift
    images += condition.noise * rng.normal(size=images.shape)
    distances = ((images[:, None, :] - CENTRES) ** 2).sum(axis=2)
    properties = np.stack([images.mean(axis=1), images.std(axis=1), np.abs(images).max(axis=1)], axis=1)
    labels = np.where(classes < 2, 1 - classes, classes) if condition.swapped else classes
    return Predictions(
        np.maximum(images, -1).astype(np.float32),
        special.softmax(-distances / 2, axis=1).astype(np.float32),
        properties.astype(np.float32),
        labels,
    )


def reference(rows: int, condition: Condition, rng: np.random.Generator) -> Reference:
    """Return a reference of images under a condition."""
    calm = predictions(rows, condition, rng)
    names = ("brightness", "contrast", "sharpness")
    return Reference(calm.embeddings, calm.probabilities, calm.labels, calm.properties, property_names=names)
