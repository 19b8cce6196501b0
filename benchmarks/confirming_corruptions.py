"""Corruptions that confirm an estimate of the accuracy: no method or constant was chosen by what they gave."""

from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.corruptions import Corruption, Images

STREAK_SLOPE = 0.3  # columns that rain moves by, per row
BRUSH = 3  # pixels of the side of a brush stroke's neighbourhood


def _rolling_shutter(images: Images, share: float, _: np.random.Generator) -> Images:
    """Move each row by a wave, as a sensor that is read line by line does under vibration."""
    height, width = images.shape[1:3]
    moves = np.rint(share * width * np.sin(4 * np.pi * np.arange(height) / height)).astype(int)
    columns = np.clip(np.arange(width)[None] + moves[:, None], 0, width - 1)
    return images[:, np.arange(height)[:, None], columns]


def _ghost(images: Images, share: float, _: np.random.Generator) -> Images:
    """Add a second exposure, moved by a sixth of the width."""
    exposure = np.roll(images, images.shape[2] // 6, axis=2)
    return _levels(images * (1 - share / 2) + exposure * (share / 2))


def _barrel(images: Images, strength: float, _: np.random.Generator) -> Images:
    height, width = images.shape[1:3]
    down, right = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    scale = 1 + strength * (down**2 + right**2)
    places = np.stack([(down * scale + 1) / 2 * (height - 1), (right * scale + 1) / 2 * (width - 1)])
    return _each_plane(images, lambda plane: ndimage.map_coordinates(plane, places, order=1, mode="nearest"))


def _rain(images: Images, share: float, rng: np.random.Generator) -> Images:
    """Draw light, slanting streaks over a share of the columns."""
    height, width = images.shape[1:3]
    changed = images.astype(float)
    rows = np.arange(height)
    for image in changed:
        for start in rng.integers(0, width, round(share * width)):
            columns = (start + np.rint(STREAK_SLOPE * rows).astype(int)) % width
            image[rows, columns] = 0.5 * image[rows, columns] + 0.5 * 220
    return _levels(changed)


def _thicken(images: Images, rounds: float, _: np.random.Generator) -> Images:
    """Let bright parts grow, as an overexposed sensor does."""
    size = (1, 1 + int(rounds), 1 + int(rounds)) + (1,) * (images.ndim - 3)
    return np.asarray(ndimage.maximum_filter(images, size=size))


def _thin(images: Images, rounds: float, _: np.random.Generator) -> Images:
    size = (1, 1 + int(rounds), 1 + int(rounds)) + (1,) * (images.ndim - 3)
    return np.asarray(ndimage.minimum_filter(images, size=size))


def _sharpened(images: Images, strength: float, _: np.random.Generator) -> Images:
    smooth = ndimage.gaussian_filter(images.astype(float), (0, 1.5, 1.5) + (0,) * (images.ndim - 3))
    return _levels(images + strength * (images - smooth))


def _banding(images: Images, levels: float, _: np.random.Generator) -> Images:
    """Add the dark and light bands of a flickering lamp."""
    height = images.shape[1]
    bands = levels * np.sin(6 * np.pi * np.arange(height) / height)
    return _levels(images + bands.reshape(1, height, *(1,) * (images.ndim - 2)))


def _median(images: Images, rounds: float, _: np.random.Generator) -> Images:
    for _round in range(int(rounds)):
        images = np.asarray(ndimage.median_filter(images, size=(1, BRUSH, BRUSH) + (1,) * (images.ndim - 3)))
    return images


def _equalised(images: Images, share: float, _: np.random.Generator) -> Images:
    """Mix images with themselves after their histogram was made flat."""
    results = []
    for image in images:
        ranks = np.cumsum(np.bincount(image.ravel(), minlength=256)) / image.size
        results.append((1 - share) * image + share * 255 * ranks[image])
    return _levels(np.stack(results))


def _dead_columns(images: Images, share: float, rng: np.random.Generator) -> Images:
    """Lose some columns of the sensor, the same in all images."""
    width = images.shape[2]
    changed = images.copy()
    changed[:, :, rng.choice(width, max(1, round(share * width)), replace=False)] = 0
    return changed


def _swirl(images: Images, turns: float, _: np.random.Generator) -> Images:
    height, width = images.shape[1:3]
    down, right = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = 2 * np.pi * turns * np.clip(1 - np.hypot(down, right), 0, 1)
    turned = np.stack([np.cos(angle) * down - np.sin(angle) * right, np.sin(angle) * down + np.cos(angle) * right])
    places = (turned + 1) / 2 * np.array([height - 1, width - 1]).reshape(2, 1, 1)
    return _each_plane(images, lambda plane: ndimage.map_coordinates(plane, places, order=1, mode="nearest"))


def _each_plane(images: Images, change: Any) -> Images:
    planes = images.astype(float) if images.ndim == 3 else np.moveaxis(images.astype(float), 3, 1)
    flat = planes.reshape(-1, *planes.shape[-2:])
    changed = np.stack([change(plane) for plane in flat]).reshape(planes.shape)
    return _levels(changed if images.ndim == 3 else np.moveaxis(changed, 1, 3))


def _levels(values: Any) -> Images:
    levels: Images = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


CONFIRMING: dict[str, tuple[Corruption, tuple[float, ...]]] = {
    "rolling shutter": (_rolling_shutter, (0.04, 0.08, 0.15)),
    "ghost": (_ghost, (0.3, 0.6, 1.0)),
    "barrel": (_barrel, (0.1, 0.25, 0.5)),
    "rain": (_rain, (0.1, 0.25, 0.5)),
    "thickened": (_thicken, (1, 2, 3)),
    "thinned": (_thin, (1, 2, 3)),
    "sharpened": (_sharpened, (0.5, 1.5, 4.0)),
    "banding": (_banding, (20, 50, 100)),
    "median": (_median, (1, 2, 4)),
    "equalised": (_equalised, (0.3, 0.6, 1.0)),
    "dead columns": (_dead_columns, (0.05, 0.12, 0.25)),
    "swirl": (_swirl, (0.05, 0.12, 0.25)),
}
