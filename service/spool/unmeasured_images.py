"""Small images in a spool, whose properties are measured when their predictions leave the ring.

To measure many small images together takes an eighth of the time that each takes alone, and no answer waits for it.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from struct import Struct

import numpy as np

from ..inference.properties import ImageArrays, measure
from ..store.logged import SINGLE
from .pending_rows import SpooledBatch

SHAPE = Struct("<HHB")  # height, width, and channels: 0 where the pixels have no axis of channels
SIDE = np.dtype("<u4")  # type of an original width or height
IMAGES_AT_A_TIME = 64  # more are measured no faster, and hold Python's lock for longer


def image_bytes(images: ImageArrays) -> bytes:
    """Return images as bytes: their shape, the original width and height of each, and all pixels."""
    _, height, width, *channels = images.pixels.shape
    sides = np.array([images.widths, images.heights], SIDE)
    return SHAPE.pack(height, width, *(channels or [0])) + sides.tobytes("F") + images.pixels.tobytes()


def with_properties(batches: Sequence[SpooledBatch]) -> list[SpooledBatch]:
    """Return batches in their order, with image properties in place of the images that were to be measured."""
    results: list[SpooledBatch] = []
    for shape, items in groupby(batches, key=lambda batch: batch.images and batch.images[: SHAPE.size]):
        same_shape = list(items)
        results += same_shape if shape is None else _with_properties(shape, same_shape)
    return results


def _with_properties(shape: bytes, batches: list[SpooledBatch]) -> Iterator[SpooledBatch]:
    """Yield batches whose images have one shape."""
    height, width, channels = SHAPE.unpack(shape)
    axes = (height, width, channels) if channels else (height, width)
    first_pixels = [SHAPE.size + 2 * SIDE.itemsize * batch.predictions for batch in batches]
    contents = [batch.images or b"" for batch in batches]
    sides = b"".join([content[SHAPE.size : first] for content, first in zip(contents, first_pixels, strict=True)])
    octets = b"".join([content[first:] for content, first in zip(contents, first_pixels, strict=True)])
    widths, heights = np.frombuffer(sides, SIDE).reshape(-1, 2).T
    pixels = np.frombuffer(octets, np.uint8).reshape(-1, *axes)
    parts = []
    for start in range(0, len(pixels), IMAGES_AT_A_TIME):
        rows = slice(start, start + IMAGES_AT_A_TIME)
        parts.append(measure(pixels[rows], widths[rows], heights[rows]).astype(SINGLE, copy=False))
    properties = np.concatenate(parts)
    start = 0
    for batch in batches:
        end = start + batch.predictions
        yield batch._replace(
            columns=batch.columns._replace(properties=properties[start:end].tobytes()),
            images=None,
        )
        start = end
