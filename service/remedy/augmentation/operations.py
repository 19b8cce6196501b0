"""Image operations with one magnitude each, on uint8 pixels at the model's size: what may have happened to a camera."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Pixels = NDArray[np.uint8]  # (n, H, W) or (n, H, W, 3)
Magnitudes = NDArray[np.float64]  # (n,)

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can happen to images.

    `apply(pixels, magnitudes, rng)` gives each image its own magnitude and returns new pixels; only noise draws from
    `rng`.
    """

    name: str
    unit: str
    identity: float  # the magnitude that changes nothing
    limits: tuple[float, float]  # beyond them little is left of an image
    grid: tuple[float, ...]  # magnitudes that a search begins with, ascending
    apply: Callable[[Pixels, Magnitudes, np.random.Generator], Pixels]
    family: str  # operations of one kin look alike, so that a search may take one for the other
    colour: bool = False  # for images with colours only


def _brightness(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    return _levels(pixels * _each(magnitudes, pixels))


def _contrast(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    grey = pixels @ GREY if pixels.ndim == 4 else pixels
    mean = _each(grey.mean(axis=(1, 2), dtype=np.float64), pixels)
    return _levels(mean + (pixels - mean) * _each(magnitudes, pixels))


def _gamma(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    tables = _levels(255 * (np.arange(256) / 255) ** magnitudes[:, None])
    return np.stack([table[image] for table, image in zip(tables, pixels, strict=True)])


def _blur(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    blurred = np.empty(pixels.shape, np.float32)
    for image, sigma, result in zip(pixels, magnitudes, blurred, strict=True):
        sigmas = (sigma, sigma, 0)[: image.ndim]
        ndimage.gaussian_filter(image.astype(np.float32), sigmas, output=result, mode="reflect")
    return _levels(blurred)


def _noise(pixels: Pixels, magnitudes: Magnitudes, rng: np.random.Generator) -> Pixels:
    drawn = rng.standard_normal(pixels.shape, dtype=np.float32)
    return _levels(pixels + 255 * _each(magnitudes, pixels) * drawn)


def _jpeg(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    results = []
    for image, quality in zip(pixels, magnitudes, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=round(quality))
        results.append(np.asarray(Image.open(file)))
    return np.stack(results)


def _resolution(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    height, width = pixels.shape[1:3]
    results = []
    for image, share in zip(pixels, magnitudes, strict=True):
        size = max(1, round(width * share)), max(1, round(height * share))
        small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        results.append(np.asarray(small.resize((width, height), Image.Resampling.BILINEAR)))
    return np.stack(results)


def _rotation(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    height, width = pixels.shape[1:3]
    margin = math.ceil((math.hypot(height, width) - min(height, width)) / 2) + 1

    def turned(image: Image.Image, degrees: float) -> Image.Image:
        return image.rotate(degrees, Image.Resampling.BILINEAR)

    return _moved(pixels, magnitudes, margin, turned)


def _shift_x(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    return _shifted(pixels, magnitudes, right=pixels.shape[2], down=0)


def _shift_y(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    return _shifted(pixels, magnitudes, right=0, down=pixels.shape[1])


def _shifted(pixels: Pixels, magnitudes: Magnitudes, right: int, down: int) -> Pixels:
    def describe_shifted_classes(image: Image.Image, share: float) -> Image.Image:
        matrix = (1, 0, -share * right, 0, 1, -share * down)
        return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)

    return _moved(
        pixels, magnitudes, math.ceil(float(np.abs(magnitudes).max()) * max(right, down)) + 1, describe_shifted_classes
    )


def _moved(
    pixels: Pixels, magnitudes: Magnitudes, margin: int, move: Callable[[Image.Image, float], Image.Image]
) -> Pixels:
    """Move images within a margin of their repeated edges, and cut it off again."""
    sides = ((0, 0), (margin, margin), (margin, margin), (0, 0))[: pixels.ndim]
    inner = slice(margin, -margin)
    return np.stack(
        [
            np.asarray(move(Image.fromarray(image), float(magnitude)))[inner, inner]
            for image, magnitude in zip(np.pad(pixels, sides, mode="edge"), magnitudes, strict=True)
        ]
    )


def _cast(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    factors = np.stack([1 + magnitudes, np.ones_like(magnitudes), 1 - magnitudes], axis=1).astype(np.float32)
    return _levels(pixels * factors[:, None, None, :])


def _each(values: Magnitudes, pixels: Pixels) -> NDArray[np.float32]:
    return values.astype(np.float32).reshape(-1, *(1,) * (pixels.ndim - 1))


def _levels(values: NDArray[Any]) -> Pixels:
    levels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


FACTORS = (0.3, 0.45, 0.6, 0.75, 0.88, 1.12, 1.3, 1.6, 2.0)
ORDERED = (  # as light, lens, sensor and file come one after the other
    Operation(
        "rotation", "degrees, counter-clockwise", 0, (-60, 60), (-45, -30, -20, -10, 10, 20, 30, 45), _rotation, "place"
    ),
    Operation(
        "shift_x", "share of the width, to the right", 0, (-0.35, 0.35), (-0.2, -0.1, 0.1, 0.2), _shift_x, "place"
    ),
    Operation("shift_y", "share of the height, down", 0, (-0.35, 0.35), (-0.2, -0.1, 0.1, 0.2), _shift_y, "place"),
    Operation("brightness", "factor", 1, (0.1, 3), FACTORS, _brightness, "light"),
    Operation(
        "cast", "red up and blue down by this share", 0, (-0.6, 0.6), (-0.3, -0.15, 0.15, 0.3), _cast, "colour", True
    ),
    Operation("blur", "deviation in pixels", 0, (0, 5), (0.5, 0.8, 1.2, 1.8, 2.6), _blur, "sharpness"),
    Operation("resolution", "share of the side", 1, (0.1, 1), (0.25, 0.35, 0.5, 0.7, 0.85), _resolution, "sharpness"),
    Operation("noise", "deviation in 0..1", 0, (0, 0.6), (0.03, 0.07, 0.13, 0.22, 0.35), _noise, "grain"),
    Operation("contrast", "factor", 1, (0.1, 3), FACTORS, _contrast, "light"),
    Operation("gamma", "exponent", 1, (0.2, 5), (0.4, 0.6, 0.8, 1.25, 1.7, 2.4), _gamma, "light"),
    Operation("jpeg", "quality", 100, (3, 100), (5, 12, 25, 50), _jpeg, "grain"),
)
