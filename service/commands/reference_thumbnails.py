"""Thumbnails of a reference's images, for the pages."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..inference.images import DecodedImage
from ..inference.thumbnails import thumbnail

MAX_THUMBNAILS = 512  # thumbnails of a reference


@dataclass
class Gallery:
    """Thumbnails of the first images of each class, and so, images being in random order, of a random sample."""

    classes: int
    images: dict[int, bytes] = field(default_factory=dict)  # JPEG bytes by row of the reference
    _met: int = 0
    _counts: Counter[int] = field(default_factory=Counter)

    def add(self, images: Sequence[DecodedImage], labels: NDArray[np.int64]) -> None:
        """Take the next rows of the reference."""
        for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True), start=self._met):
            if self._counts[label] < -(-MAX_THUMBNAILS // self.classes) and len(self.images) < MAX_THUMBNAILS:
                self.images[row] = thumbnail(image.pixels)
                self._counts[label] += 1
        self._met += len(images)
