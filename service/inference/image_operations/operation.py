"""An image operation: its name, its magnitudes, and the function that applies it to a batch of pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (n, H, W) or (n, H, W, 3)
Magnitudes = NDArray[np.float64]  # (n,)
Apply = Callable[[Pixels, Magnitudes, np.random.Generator], Pixels]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can happen to images.

    Attributes
    ----------
    name : str
    unit : str
        Unit and direction of a magnitude.
    identity : float
        The magnitude that changes nothing.
    limits : tuple[float, float]
        Magnitudes beyond which little is left of an image.
    severities : tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
        Magnitudes that rehearsals use: mild, medium, severe, each in one direction or in both.
    apply : Apply
        Function `apply(pixels, magnitudes, rng)` that gives each image its own magnitude and returns new pixels.
        Grains, places and the like, which a magnitude does not determine, are drawn from `rng`.
    family : str
        Operations of one family look alike, so that a search may take one for the other.
    grid : tuple of float
        Magnitudes that a search begins with, ascending; empty if the search for a window's operations leaves this one
        out.
    colour : bool
        Whether the operation is for images with colours only.
    """

    name: str
    unit: str
    identity: float
    limits: tuple[float, float]
    severities: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
    apply: Apply
    family: str
    grid: tuple[float, ...] = ()
    colour: bool = False


def per_image(values: Magnitudes, pixels: Pixels) -> NDArray[np.float32]:
    """Return one value an image (n,) in the shape that multiplies pixels."""
    return values.astype(np.float32).reshape(-1, *(1,) * (pixels.ndim - 1))


def to_levels(values: NDArray[Any]) -> Pixels:
    """Return values rounded to the levels 0 to 255."""
    levels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels
