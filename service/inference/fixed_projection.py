"""Embeddings of more than 2,048 values, reduced by one fixed projection: the same for traffic, reference and history.

Coordinates are put into 2,048 disjoint groups, as equal in size as they can be, and each group's values are added with
random signs. Groups and signs come from SplitMix64 with a fixed seed, so that no version of a library changes them.

References
----------
Charikar, Chen and Farach-Colton 2002, "Finding frequent items in data streams" (count sketch).
Weinberger et al. 2009, "Feature hashing for large scale multitask learning" (inner products are kept in expectation).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MAX_EMBEDDING_SIZE = 2048  # values of a stored embedding
SEED = 20  # seed of the groups and signs; changing it makes stored references and new traffic differ


def project(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return embeddings (m, d) as they are for d up to 2,048, else (m, 2048): signed sums of groups of coordinates."""
    size = embeddings.shape[1]
    if size <= MAX_EMBEDDING_SIZE:
        return embeddings
    order, signs = _groups(size)
    starts = np.arange(MAX_EMBEDDING_SIZE) * size // MAX_EMBEDDING_SIZE
    with np.errstate(over="ignore", invalid="ignore"):
        sums: NDArray[np.float32] = np.add.reduceat(embeddings[:, order] * signs, starts, axis=1, dtype=np.float32)
    return sums


@lru_cache(maxsize=8)
def _groups(size: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return a random order of the coordinates, of which groups are consecutive parts, and a sign for each."""
    numbers = _splitmix64(np.arange(size, dtype=np.uint64) + np.uint64(SEED * 2**32))
    order = np.argsort(numbers, kind="stable")
    signs = np.where(_splitmix64(numbers) & np.uint64(1), np.float32(1), np.float32(-1))
    return order, signs


def _splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hash of Steele, Lea and Flood 2014 of each value."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
