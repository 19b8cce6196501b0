"""Operations of light: brightness, contrast, gamma, fog and colour cast."""

import numpy as np
from scipy import ndimage

from .operation import Magnitudes, Operation, Pixels, per_image, to_levels

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # weights of red, green and blue in luminance, ITU-R BT.601
FACTORS = (0.3, 0.45, 0.6, 0.75, 0.88, 1.12, 1.3, 1.6, 2.0)
FOG_GRAIN = 0.25  # deviation of the fog's smoothing, as a share of the image's side
FOG_UNEVENNESS = 0.3  # share by which the fog's density varies over an image
FOG_LEVEL = 230  # level 0 to 255 of what dense fog looks like


def brightness(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Multiply all levels by a factor."""
    return to_levels(pixels * per_image(magnitudes, pixels))


def contrast(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Multiply the distance of all levels from the image's mean grey by a factor."""
    grey = pixels @ GREY if pixels.ndim == 4 else pixels
    mean = per_image(grey.mean(axis=(1, 2), dtype=np.float64), pixels)
    return to_levels(mean + (pixels - mean) * per_image(magnitudes, pixels))


def gamma(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Raise levels between 0 and 1 to an exponent."""
    tables = to_levels(255 * (np.arange(256) / 255) ** magnitudes[:, None])
    return np.stack([table[image] for table, image in zip(tables, pixels, strict=True)])


def fog(pixels: Pixels, magnitudes: Magnitudes, rng: np.random.Generator) -> Pixels:
    """Mix images with a light, uneven veil; the magnitude is the veil's mean share."""
    n, height, width = pixels.shape[:3]
    drawn = rng.standard_normal((n, height, width), dtype=np.float32)
    grain = (0, FOG_GRAIN * height, FOG_GRAIN * width)
    smooth = ndimage.gaussian_filter(drawn, grain, mode="reflect")
    smooth /= np.maximum(smooth.std(axis=(1, 2), keepdims=True), 1e-6)
    share = per_image(magnitudes, pixels[..., 0] if pixels.ndim == 4 else pixels) * (1 + FOG_UNEVENNESS * smooth)
    share = np.clip(share, 0, 1)
    if pixels.ndim == 4:
        share = share[..., None]
    return to_levels(pixels * (1 - share) + FOG_LEVEL * share)


def cast(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Raise red and lower blue by a share."""
    factors = np.stack([1 + magnitudes, np.ones_like(magnitudes), 1 - magnitudes], axis=1).astype(np.float32)
    return to_levels(pixels * factors[:, None, None, :])


BRIGHTNESS = Operation(
    "brightness", "factor", 1, (0.1, 3), ((0.75, 1.3), (0.5, 1.7), (0.3, 2.3)), brightness, "light", FACTORS
)
CONTRAST = Operation(
    "contrast", "factor", 1, (0.1, 3), ((0.75, 1.3), (0.5, 1.7), (0.25, 2.5)), contrast, "light", FACTORS
)
GAMMA = Operation(
    "gamma",
    "exponent",
    1,
    (0.2, 5),
    ((0.75, 1.35), (0.5, 2), (0.3, 3.3)),
    gamma,
    "light",
    (0.4, 0.6, 0.8, 1.25, 1.7, 2.4),
)
FOG = Operation("fog", "share of the veil", 0, (0, 0.9), ((0.2,), (0.4,), (0.65,)), fog, "light")
CAST = Operation(
    "cast",
    "red up and blue down by this share",
    0,
    (-0.6, 0.6),
    ((-0.15, 0.15), (-0.3, 0.3), (-0.5, 0.5)),
    cast,
    "colour",
    (-0.3, -0.15, 0.15, 0.3),
    colour=True,
)
