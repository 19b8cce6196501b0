"""Operations of the lens and of movement: blur, motion and resolution."""

import numpy as np
from PIL import Image
from scipy import ndimage

from .operation import Magnitudes, Operation, Pixels, to_levels

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows and columns of one step: across, down and both diagonals
MAX_STEPS = 15  # places of an image whose mean is its motion blur, at most


def blur(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Smooth by a Gaussian; the magnitude is its deviation in pixels."""
    blurred = np.empty(pixels.shape, np.float32)
    for image, sigma, result in zip(pixels, magnitudes, blurred, strict=True):
        sigmas = (sigma, sigma, 0)[: image.ndim]
        ndimage.gaussian_filter(image.astype(np.float32), sigmas, output=result, mode="reflect")
    return to_levels(blurred)


def motion(pixels: Pixels, magnitudes: Magnitudes, rng: np.random.Generator) -> Pixels:
    """Average each image along a line in one of four directions; the magnitude is its length as a share of the side."""
    side = min(pixels.shape[1:3])
    lengths = magnitudes * side
    margin = int(np.ceil(lengths.max() / 2)) + 1
    sides = ((0, 0), (margin, margin), (margin, margin), (0, 0))[: pixels.ndim]
    framed = np.pad(pixels, sides, mode="edge")
    directions = rng.integers(0, len(DIRECTIONS), len(pixels))
    places = np.linspace(-0.5, 0.5, min(MAX_STEPS, 2 * margin + 1))
    total = np.zeros(pixels.shape, np.float32)
    height, width = pixels.shape[1:3]
    for number, length in enumerate(lengths):
        down, right = DIRECTIONS[directions[number]]
        for place in places:
            top, left = margin + round(place * length * down), margin + round(place * length * right)
            total[number] += framed[number, top : top + height, left : left + width]
    return to_levels(total / len(places))


def resolution(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Shrink and enlarge again; the magnitude is the smaller image's share of the side."""
    height, width = pixels.shape[1:3]
    results = []
    for image, share in zip(pixels, magnitudes, strict=True):
        size = max(1, round(width * share)), max(1, round(height * share))
        small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        results.append(np.asarray(small.resize((width, height), Image.Resampling.BILINEAR)))
    return np.stack(results)


BLUR = Operation(
    "blur", "deviation in pixels", 0, (0, 5), ((0.7,), (1.3,), (2.2,)), blur, "sharpness", (0.5, 0.8, 1.2, 1.8, 2.6)
)
MOTION = Operation(
    "motion", "length as a share of the side", 0, (0, 0.5), ((0.1,), (0.2,), (0.35,)), motion, "sharpness"
)
RESOLUTION = Operation(
    "resolution",
    "share of the side",
    1,
    (0.1, 1),
    ((0.6,), (0.4,), (0.25,)),
    resolution,
    "sharpness",
    (0.25, 0.35, 0.5, 0.7, 0.85),
)
