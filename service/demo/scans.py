"""The demo's world: the 1,797 real scans of handwritten digits in scikit-learn, as a scanner would deliver them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import TidemarkError

SIDE = 28  # pixels
TOP = 16  # grey levels of the original scans
TURN = 8.0  # degrees, at most
SHIFT = 1.2  # pixels, at most
SPLIT_SEED = 20


@dataclass(frozen=True)
class Scans:
    """Scans and their true digits."""

    images: NDArray[np.uint8]  # (n, 8, 8), 0..16
    labels: NDArray[np.int64]  # (n,)


def halves() -> tuple[Scans, Scans]:
    """Return the half that the classifier is fitted on, and the half that it has never seen."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise TidemarkError("the demo needs scikit-learn's digits: pip install 'tidemark[demo]'") from None
    data = load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(data.target))
    images, labels = data.images[order].astype(np.uint8), data.target[order].astype(np.int64)
    half = len(labels) // 2
    return Scans(images[:half], labels[:half]), Scans(images[half:], labels[half:])


def scan(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return digits (n, 8, 8) as scans (n, 28, 28), each put down a little differently: turned and shifted."""
    scans = np.empty((len(images), SIDE, SIDE), np.uint8)
    middle = (np.array(images.shape[1:]) - 1) / 2
    target = (np.array([SIDE, SIDE]) - 1) / 2
    zoom = (images.shape[1] + 1) / SIDE
    turns = np.deg2rad(rng.uniform(-TURN, TURN, len(images)))
    shifts = rng.uniform(-SHIFT, SHIFT, (len(images), 2))
    for number, (image, turn, shift) in enumerate(zip(images, turns, shifts, strict=True)):
        matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        offset = middle - matrix @ (target + shift)
        drawn = ndimage.affine_transform(image.astype(np.float32), matrix, offset, (SIDE, SIDE), order=1)
        scans[number] = np.clip(drawn * (255 / TOP) + 0.5, 0, 255)
    return scans


def darker_and_blurred(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what a worn scanner makes of scans: darker, and a little out of focus."""
    blurred = ndimage.gaussian_filter(images.astype(np.float32), (0, 0.8, 0.8))
    return (blurred * 0.75).astype(np.uint8)
