"""Operations of place: rotation, translation, crop and occlusion."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from .operation import Magnitudes, Operation, Pixels


def rotation(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Turn images about their middle; the magnitude is in degrees, counter-clockwise."""
    height, width = pixels.shape[1:3]
    margin = math.ceil((math.hypot(height, width) - min(height, width)) / 2) + 1

    def turn(image: Image.Image, degrees: float) -> Image.Image:
        return image.rotate(degrees, Image.Resampling.BILINEAR)

    return _within_margin(pixels, magnitudes, margin, turn)


def shift_x(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Move images to the right by a share of the width."""
    return _shifted(pixels, magnitudes * pixels.shape[2], np.zeros(len(pixels)))


def shift_y(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Move images down by a share of the height."""
    return _shifted(pixels, np.zeros(len(pixels)), magnitudes * pixels.shape[1])


def translation(pixels: Pixels, magnitudes: Magnitudes, rng: np.random.Generator) -> Pixels:
    """Move each image in a direction of its own by a share of the side."""
    angles = rng.uniform(0, 2 * np.pi, len(pixels))
    height, width = pixels.shape[1:3]
    return _shifted(pixels, magnitudes * width * np.cos(angles), magnitudes * height * np.sin(angles))


def scale(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Show another share of each side, about the middle: less than 1 enlarges, more than 1 shrinks, edges repeated."""
    height, width = pixels.shape[1:3]
    margin = math.ceil(max(float(magnitudes.max()) - 1, 0) / 2 * max(height, width)) + 1

    def resize(image: Image.Image, share: float) -> Image.Image:
        half_width, half_height = width * share / 2, height * share / 2
        middle_x, middle_y = image.width / 2, image.height / 2
        box = (middle_x - half_width, middle_y - half_height, middle_x + half_width, middle_y + half_height)
        result = image.copy()
        result.paste(image.resize((width, height), Image.Resampling.BILINEAR, box), (margin, margin))
        return result

    return _within_margin(pixels, magnitudes, margin, resize)


def occlusion(pixels: Pixels, magnitudes: Magnitudes, rng: np.random.Generator) -> Pixels:
    """Cover a square at a place of each image's own, in a grey of its own; the magnitude is its share of the side."""
    height, width = pixels.shape[1:3]
    covered = pixels.copy()
    places, greys = rng.random((len(pixels), 2)), rng.integers(0, 256, len(pixels))
    for image, share, (down, right), grey in zip(covered, magnitudes, places, greys, strict=True):
        rows, columns = round(height * share), round(width * share)
        top, left = round(down * (height - rows)), round(right * (width - columns))
        image[top : top + rows, left : left + columns] = grey
    return covered


def _shifted(pixels: Pixels, right: Magnitudes, down: Magnitudes) -> Pixels:
    """Move images by pixels to the right and down, the edges repeated."""
    margin = math.ceil(max(float(np.abs(right).max()), float(np.abs(down).max()))) + 1
    moves = np.stack([right, down], axis=1)

    def move(image: Image.Image, number: float) -> Image.Image:
        x, y = moves[int(number)]
        return image.transform(image.size, Image.Transform.AFFINE, (1, 0, -x, 0, 1, -y), Image.Resampling.BILINEAR)

    return _within_margin(pixels, np.arange(len(pixels), dtype=np.float64), margin, move)


def _within_margin(
    pixels: Pixels, values: Magnitudes, margin: int, move: Callable[[Image.Image, float], Image.Image]
) -> Pixels:
    """Move images within a margin of their repeated edges, and cut it off again."""
    sides = ((0, 0), (margin, margin), (margin, margin), (0, 0))[: pixels.ndim]
    inner = slice(margin, -margin)
    return np.stack(
        [
            np.asarray(move(Image.fromarray(image), float(value)))[inner, inner]
            for image, value in zip(np.pad(pixels, sides, mode="edge"), values, strict=True)
        ]
    )


ROTATION = Operation(
    "rotation",
    "degrees, counter-clockwise",
    0,
    (-60, 60),
    ((-10, 10), (-20, 20), (-40, 40)),
    rotation,
    "place",
    (-45, -30, -20, -10, 10, 20, 30, 45),
)
SHIFTS = (-0.2, -0.1, 0.1, 0.2)
SHIFT_X = Operation(
    "shift_x", "share of the width, to the right", 0, (-0.35, 0.35), ((), (), ()), shift_x, "place", SHIFTS
)
SHIFT_Y = Operation("shift_y", "share of the height, down", 0, (-0.35, 0.35), ((), (), ()), shift_y, "place", SHIFTS)
TRANSLATION = Operation(
    "translation", "share of the side, in any direction", 0, (0, 0.35), ((0.05,), (0.1,), (0.2,)), translation, "place"
)
CROP = Operation(
    "crop",
    "share of the side that is visible",
    1,
    (0.4, 1.7),
    ((0.9, 1.12), (0.75, 1.3), (0.6, 1.55)),
    scale,
    "place",
)
OCCLUSION = Operation(
    "occlusion", "share of the side that is covered", 0, (0, 0.8), ((0.2,), (0.35,), (0.5,)), occlusion, "occlusion"
)
