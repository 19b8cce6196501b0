"""Corruptions of families that rehearsals do not contain, to measure estimates of the accuracy on."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Images = NDArray[np.uint8]
Corruption = Callable[[Images, float, np.random.Generator], Images]

ELASTIC_GRAIN = 0.14  # deviation of the smoothing of elastic displacements, as a share of the side
SPATTER_GRAIN = 0.05  # the same for drops
DIRT_SEED = 3  # seed of the places of dirt, which are the same in all images


def _salt_and_pepper(images: Images, share: float, rng: np.random.Generator) -> Images:
    drawn = rng.random(images.shape[:3])
    changed = images.copy()
    changed[drawn < share / 2] = 0
    changed[drawn > 1 - share / 2] = 255
    return changed


def _speckle(images: Images, deviation: float, rng: np.random.Generator) -> Images:
    return _levels(images * (1 + deviation * rng.standard_normal(images.shape)))


def _shot_noise(images: Images, photons: float, rng: np.random.Generator) -> Images:
    return _levels(rng.poisson(images / 255 * photons) / photons * 255)


def _elastic(images: Images, strength: float, rng: np.random.Generator) -> Images:
    side = images.shape[1]
    grid = np.mgrid[:side, : images.shape[2]].astype(float)
    results = []
    for image in images:
        directions = rng.uniform(-1, 1, (2, *image.shape[:2]))
        smooth = ndimage.gaussian_filter(directions, (0, ELASTIC_GRAIN * side, ELASTIC_GRAIN * side))
        coordinates = grid + strength * side * smooth
        results.append(
            _each_channel(image, partial(ndimage.map_coordinates, coordinates=coordinates, order=1, mode="nearest"))
        )
    return _levels(np.stack(results))


def _pixelate(images: Images, share: float, _: np.random.Generator) -> Images:
    height, width = images.shape[1:3]
    small = max(1, round(width * share)), max(1, round(height * share))
    results = [Image.fromarray(one).resize(small, Image.Resampling.BOX) for one in images]
    return np.stack([np.asarray(one.resize((width, height), Image.Resampling.NEAREST)) for one in results])


def _posterize(images: Images, levels: float, _: np.random.Generator) -> Images:
    step = 256 / levels
    return _levels(np.floor(images / step) * step + step / 2)


def _solarize(images: Images, threshold: float, _: np.random.Generator) -> Images:
    return np.where(images >= threshold, 255 - images, images).astype(np.uint8)


def _stripes(images: Images, share: float, _: np.random.Generator) -> Images:
    changed = images.astype(float)
    changed[:, ::4] = changed[:, ::4] * (1 - share) + 255 * share
    return _levels(changed)


def _vignette(images: Images, strength: float, _: np.random.Generator) -> Images:
    height, width = images.shape[1:3]
    down, right = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = np.clip(1 - strength * (down**2 + right**2), 0, 1)
    return _levels(images * (light[..., None] if images.ndim == 4 else light))


def _shear(images: Images, slope: float, _: np.random.Generator) -> Images:
    matrix = np.array([[1, 0], [slope, 1]])
    middle = np.array(images.shape[1:3]) / 2 - 0.5

    def displaced(plane: Any) -> Any:
        return ndimage.affine_transform(plane, matrix, middle - matrix @ middle, order=1, mode="nearest")

    return _levels(np.stack([_each_channel(image, displaced) for image in images]))


def _spatter(images: Images, threshold: float, rng: np.random.Generator) -> Images:
    grain = SPATTER_GRAIN * images.shape[1]
    drops = ndimage.gaussian_filter(rng.standard_normal(images.shape[:3]), (0, grain, grain))
    wet = drops / drops.std() > threshold
    changed = images.copy()
    changed[wet] = 200
    return changed


def _frost(images: Images, share: float, rng: np.random.Generator) -> Images:
    grain = ndimage.gaussian_filter(rng.standard_normal(images.shape[:3]), (0, 0.8, 2.5))
    grain = (grain - grain.min()) / (grain.max() - grain.min())
    return _levels(images * (1 - share) + share * 255 * (grain[..., None] if images.ndim == 4 else grain))


def _gradient(images: Images, levels: float, _: np.random.Generator) -> Images:
    slope = levels * np.linspace(-1, 1, images.shape[2])
    return _levels(images + (slope[:, None] if images.ndim == 4 else slope))


def _stray_light(images: Images, levels: float, _: np.random.Generator) -> Images:
    return _levels(images + levels)


def _glass(images: Images, rounds: float, rng: np.random.Generator) -> Images:
    height, width = images.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    for _round in range(int(rounds)):
        down, right = rng.integers(-1, 2, (2, height, width))
        images = images[:, np.clip(rows + down, 0, height - 1), np.clip(columns + right, 0, width - 1)]
    return images


def _dirt(images: Images, spots: float, _: np.random.Generator) -> Images:
    height, width = images.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    rng = np.random.default_rng(DIRT_SEED)
    changed = images.astype(float)
    for _spot in range(int(spots)):
        row, column, size = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.05, 0.15) * height
        spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * size**2))
        spot = spot[..., None] if images.ndim == 4 else spot
        changed = changed * (1 - spot) + 60 * spot
    return _levels(changed)


def _inversion(images: Images, share: float, _: np.random.Generator) -> Images:
    return _levels(images * (1 - share) + (255.0 - images) * share)


def _each_channel(image: Any, change: Callable[[Any], Any]) -> Any:
    planes = [image.astype(float)] if image.ndim == 2 else list(np.moveaxis(image.astype(float), 2, 0))
    changed = [change(plane) for plane in planes]
    return changed[0] if image.ndim == 2 else np.stack(changed, axis=2)


def _levels(values: Any) -> Images:
    levels: Images = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


CORRUPTIONS: dict[str, tuple[Corruption, tuple[float, ...]]] = {
    "salt and pepper": (_salt_and_pepper, (0.03, 0.1, 0.25)),
    "speckle": (_speckle, (0.2, 0.5, 1.0)),
    "shot noise": (_shot_noise, (40, 12, 4)),
    "elastic": (_elastic, (0.2, 0.4, 0.7)),
    "pixelate": (_pixelate, (0.5, 0.25, 0.15)),
    "posterize": (_posterize, (8, 4, 2)),
    "solarize": (_solarize, (220, 160, 100)),
    "stripes": (_stripes, (0.15, 0.4, 0.8)),
    "vignette": (_vignette, (0.3, 0.6, 1.0)),
    "shear": (_shear, (0.1, 0.3, 0.6)),
    "spatter": (_spatter, (2.2, 1.6, 1.0)),
    "frost": (_frost, (0.2, 0.4, 0.6)),
    "gradient": (_gradient, (25, 60, 110)),
    "stray light": (_stray_light, (15, 40, 80)),
    "glass": (_glass, (1, 2, 4)),
    "dirt": (_dirt, (2, 5, 10)),
    "inversion": (_inversion, (0.15, 0.35, 1.0)),
}
