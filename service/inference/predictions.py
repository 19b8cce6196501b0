"""Predictions of a batch of images, and the interface that runs a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .images import DecodedImage
from .model import Model
from .properties import ImageArrays


@dataclass(frozen=True, slots=True)
class Predictions:
    """The model's predictions of some images, a row an image."""

    probabilities: NDArray[np.float32]  # (m, k)
    embeddings: NDArray[np.float32]  # (m, d)
    pixels: NDArray[np.uint8]  # (m, H, W) or (m, H, W, 3), as the model sees them
    images: list[DecodedImage]

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def indices(self) -> NDArray[np.intp]:
        """The predicted classes (m,)."""
        classes: NDArray[np.intp] = self.probabilities.argmax(axis=1)
        return classes

    @property
    def image_arrays(self) -> ImageArrays:
        """What the image properties are measured on."""
        return ImageArrays(self.pixels, [i.width for i in self.images], [i.height for i in self.images])

    def rows(self, part: slice) -> "Predictions":
        """Return a part of the rows."""
        return Predictions(
            self.probabilities[part],
            self.embeddings[part],
            self.pixels[part],
            self.images[part],
        )


class RequestRows(NamedTuple):
    """The rows of one request in a batch, and the tags that came with it."""

    rows: slice
    tags: dict[str, str]


def predict_images(
    model: Model, images: list[DecodedImage], max_batch: int, observe: Callable[[str, float], None]
) -> Predictions:
    """Run a model on images, more than fill a batch in several runs.

    Raises
    ------
    ModelFailed
        It has no usable answer to one of them.
    """
    pixels = images[0].pixels[None] if len(images) == 1 else np.stack([image.pixels for image in images])
    answers = []
    for first in range(0, len(images), max_batch):
        part = slice(first, first + max_batch)
        tensor = model.prepared(pixels[part])
        for row, image in enumerate(images[part]):
            if image.tensor is not None:
                tensor[row] = image.tensor
        answers.append(model.run(tensor))
        observe("batch", len(tensor))
    probabilities, embeddings = answers[0] if len(answers) == 1 else map(np.concatenate, zip(*answers, strict=True))
    return Predictions(probabilities, embeddings, pixels, images)
