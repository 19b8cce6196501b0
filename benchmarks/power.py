"""Power on the shift classes of "Failing Loudly" (Rabanser, Günnemann and Lipton 2019), at level .05.

Next to it the figures that MMDAgg's authors publish for MNIST and CIFAR-10 together (Schrab et al. 2023).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.world import World, reference, rows
from tidemark.drift import WindowTest

SIZES = (10, 20, 50, 100, 200, 500, 1000)
PUBLISHED = (0.21, 0.29, 0.40, 0.44, 0.47, 0.56, 0.67)
SHARES = (0.1, 0.5, 1.0)
SEEDS = 3
LEVEL = 0.05
CALM = "no shift (level)"

Images = NDArray[np.uint8]


def run(world: World) -> None:
    """Print power by window size, averaged over shifts and shares, and by shift."""
    detected: dict[str, dict[int, list[bool]]] = {name: {size: [] for size in SIZES} for name in SHIFTS}
    half = len(world.labels) // 2
    calm = world.arrays(world.images)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        for size in SIZES:
            reference_rows = rng.choice(half, max(size, 50), replace=False)
            if size < 20:
                continue
            test = WindowTest(
                reference(rows(calm, reference_rows), world.labels[reference_rows]), window_size=size, level=LEVEL
            )
            for name, shift in SHIFTS.items():
                for share in SHARES:
                    indices = half + rng.choice(len(world.labels) - half, size, replace=False)
                    images = shift(world, indices, share, rng)
                    detected[name][size].append(test.p_value(**world.arrays(images)) <= LEVEL)
    sizes = [size for size in SIZES if size >= 20]
    print("reference and window of n images each; share of windows found at level .05\n")
    print("| shift | " + " | ".join(str(size) for size in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for name, by_size in detected.items():
        print(f"| {name} | " + " | ".join(f"{np.mean(by_size[size]):.2f}" for size in sizes) + " |")
    planted = [by_size for name, by_size in detected.items() if name != CALM]
    means = [np.mean([np.mean(by_size[size]) for by_size in planted]) for size in sizes]
    print("| **mean of the nine** | " + " | ".join(f"**{mean:.2f}**" for mean in means) + " |")
    published = [figure for size, figure in zip(SIZES, PUBLISHED, strict=True) if size >= 20]
    print("| MMDAgg, published | " + " | ".join(f"{figure:.2f}" for figure in published) + " |")
    print("\nn = 10 is left out: a window needs 20 predictions. A reference of n = 20 is one of 50.")


def _noise(sigma: float) -> Callable[..., Images]:
    def shift(world: World, indices: Any, share: float, rng: np.random.Generator) -> Images:
        return _apply(world.images[indices], share, rng, lambda x: np.clip(x + rng.normal(0, sigma, x.shape), 0, 255))

    return shift


def _image(degrees: float, move: float, zoom: float, flip: bool) -> Callable[..., Images]:
    def shift(world: World, indices: Any, share: float, rng: np.random.Generator) -> Images:
        return _apply(
            world.images[indices],
            share,
            rng,
            lambda x: np.stack([_warp(image, degrees, move, zoom, flip, rng) for image in x]),
        )

    return shift


def _warp(image: Any, degrees: float, move: float, zoom: float, flip: bool, rng: np.random.Generator) -> Any:
    angle = np.deg2rad(rng.uniform(-degrees, degrees))
    scale = 1 / rng.uniform(1 - zoom, 1 + zoom)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    size = np.array(image.shape[:2])
    offset = (size - 1) / 2 - matrix @ ((size - 1) / 2) + rng.uniform(-move, move, 2) * size
    if flip and rng.random() < 0.5:
        image = image[:, ::-1]
    if flip and rng.random() < 0.5:
        image = image[::-1]
    if image.ndim == 2:
        return ndimage.affine_transform(image, matrix, offset, order=1, mode="nearest")
    bands = [ndimage.affine_transform(image[..., b], matrix, offset, order=1, mode="nearest") for b in range(3)]
    return np.stack(bands, axis=-1)


def _apply(images: Images, share: float, rng: np.random.Generator, change: Callable[[Any], Any]) -> Images:
    changed = images.copy()
    hit = rng.random(len(images)) < share
    if hit.any():
        changed[hit] = change(images[hit].astype(np.float32)).astype(np.uint8)
    return changed


def _knock_out(world: World, indices: Any, share: float, rng: np.random.Generator) -> Any:
    """Replace images of class 0, as many as `share` says, by images of other classes."""
    stays = ~((world.labels[indices] == 0) & (rng.random(len(indices)) < share))
    others = np.flatnonzero(world.labels[len(world.labels) // 2 :] != 0) + len(world.labels) // 2
    return np.where(stays, indices, rng.choice(others, len(indices)))


def _only_class_zero(world: World, indices: Any, rng: np.random.Generator) -> Any:
    zeros = np.flatnonzero(world.labels[len(world.labels) // 2 :] == 0) + len(world.labels) // 2
    return rng.choice(zeros, len(indices), replace=len(zeros) < len(indices))


_MEDIUM = _image(40, 0.2, 0.2, True)

SHIFTS: dict[str, Callable[..., Images]] = {
    "small noise": _noise(1),
    "medium noise": _noise(10),
    "large noise": _noise(100),
    "small image shift": _image(10, 0.05, 0.1, False),
    "medium image shift": _MEDIUM,
    "large image shift": _image(90, 0.4, 0.4, True),
    "knock-out": lambda w, i, share, rng: w.images[_knock_out(w, i, share, rng)],
    "medium + knock-out": lambda w, i, share, rng: _MEDIUM(w, _knock_out(w, i, share, rng), 0.5, rng),
    "only zero + medium": lambda w, i, share, rng: _MEDIUM(w, _only_class_zero(w, i, rng), share, rng),
    CALM: lambda w, i, share, rng: w.images[i],
}
