"""Natural shifts: parts of a world's images that the reference has never seen, so that nothing had to be altered."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.world import World

HELD_OUT = 0.25  # share of each class that the reference does not see
MIN_CLASS = 20  # images of a class of which a part can be held out

Values = NDArray[np.float64]


class NaturalShift(NamedTuple):
    """Rows of a world: those of the reference, and those that its traffic moves to."""

    name: str
    reference: NDArray[np.int64]
    traffic: NDArray[np.int64]


def natural_shifts(world: World) -> list[NaturalShift]:
    """Return shifts to sub-populations: within each class, the quarter of the images with the highest values."""
    grey = world.images.astype(float) / 255
    if grey.ndim == 4:
        grey = grey.mean(axis=3)
    measures: dict[str, Callable[[], Values]] = {
        "the brightest": lambda: grey.mean(axis=(1, 2)),
        "the darkest": lambda: -grey.mean(axis=(1, 2)),
        "the least contrast": lambda: -grey.std(axis=(1, 2)),
        "the widest": lambda: _spread(grey, 2),
        "the most slanted": lambda: _slant(grey),
        "another style": lambda: _style(grey, world.labels),
    }
    return [_split(name, measure(), world.labels) for name, measure in measures.items()]


def _split(name: str, values: Values, labels: NDArray[np.int64]) -> NaturalShift:
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) >= MIN_CLASS:
            held_out[rows[values[rows] > np.quantile(values[rows], 1 - HELD_OUT)]] = True
    return NaturalShift(name, np.flatnonzero(~held_out), np.flatnonzero(held_out))


def _spread(grey: Values, axis: int) -> Values:
    """Return the deviation of the light along an axis, in pixels."""
    light = grey.sum(axis=3 - axis)
    places = np.arange(light.shape[1])
    total = np.maximum(light.sum(axis=1), 1e-9)
    middle = (light @ places) / total
    return np.asarray(np.sqrt(np.maximum((light @ places**2) / total - middle**2, 0)))


def _slant(grey: Values) -> Values:
    """Return the correlation of rows and columns of the light."""
    rows, columns = np.mgrid[: grey.shape[1], : grey.shape[2]]
    total = np.maximum(grey.sum(axis=(1, 2)), 1e-9)

    def mean(values: Values) -> Values:
        return np.asarray((grey * values).sum(axis=(1, 2)) / total)

    covariance = mean(rows * columns) - mean(rows) * mean(columns)
    return np.asarray(covariance / np.maximum(_spread(grey, 1) * _spread(grey, 2), 1e-9))


def _style(grey: Values, labels: NDArray[np.int64]) -> Values:
    """Return the leading principal component of the pixels within each class."""
    small = grey[:, ::2, ::2].reshape(len(grey), -1)
    values = np.zeros(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        centred = small[rows] - small[rows].mean(axis=0)
        _, vectors = np.linalg.eigh(centred.T @ centred)
        values[rows] = centred @ vectors[:, -1]
    return values
