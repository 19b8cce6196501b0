"""A made-up classifier and its traffic, with shifts to plant: classes seen through ReLU units, two of them dead."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.spatial.distance import cdist

from tidemark.drift import Reference

# Arrays (n × …) by the name of an argument of `drift`; passed as keywords, which mypy can check for no narrower type.
Arrays = dict[str, Any]


class Change(TypedDict, total=False):
    """What is different in shifted traffic: arguments of `World.traffic`."""

    prior: ArrayLike  # share of each class
    move: float  # added to each embedding
    noise: float  # deviation of noise that is added


@dataclass(frozen=True)
class World:
    """`k` classes in `d` dimensions; `spread` is the distance between classes in their deviations."""

    k: int = 5
    d: int = 16
    spread: float = 1.1

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        return np.random.default_rng(7).normal(size=(self.k, self.d)) * self.spread

    def labels(self, n: int, rng: np.random.Generator, prior: Any = None) -> NDArray[np.int64]:
        return rng.choice(self.k, n, p=prior)

    def see(self, labels: NDArray[np.int64], rng: np.random.Generator, move: Any = 0.0, noise: float = 0.0) -> Arrays:
        """What the model gives for images of these labels; `move` and `noise` change the images themselves."""
        z = self.centres[labels] + rng.standard_t(8, size=(len(labels), self.d)) + move
        z += noise * rng.normal(size=z.shape)
        distance = cdist(z, self.centres, "sqeuclidean")
        embeddings = np.maximum(z, -1)
        embeddings[:, :2] = 0
        properties = np.stack([z.mean(axis=1), z.std(axis=1), np.abs(z).max(axis=1)], axis=1)
        return {
            "embeddings": embeddings.astype(np.float32),
            "probabilities": special.softmax(-distance / 2, axis=1).astype(np.float32),
            "properties": properties.astype(np.float32),
        }

    def traffic(self, n: int, rng: np.random.Generator, prior: Any = None, **change: Any) -> Arrays:
        return self.see(self.labels(n, rng, prior), rng, **change)

    def reference(self, n: int, rng: np.random.Generator) -> Reference:
        labels = self.labels(n, rng)
        names = ("brightness", "contrast", "sharpness")
        return Reference(**self.see(labels, rng), labels=labels, property_names=names)

    def bursts(self, n: int, rng: np.random.Generator, size: int = 20) -> Arrays:
        """Calm traffic in bursts of one class."""
        return self.see(np.repeat(self.labels(-(-n // size), rng), size)[:n], rng)


def rows(arrays: Arrays, index: Any) -> Arrays:
    """Return some of the predictions."""
    return {name: values[index] for name, values in arrays.items()}
