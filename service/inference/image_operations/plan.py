"""The operations that are rehearsed, in the order of their use: each at three severities, and mixtures of two."""

from typing import NamedTuple

import numpy as np

from .catalogue import REHEARSED
from .operation import Operation, Pixels

MIXTURES = 12  # mixtures of two operations of different families
MIXTURE_SEED = 0  # seed of the choice of mixtures
ORDER = (1, 2, 0)  # severities in the order of their use, so that all operations are there if the time is short


class Step(NamedTuple):
    """One operation and the magnitude with which it is applied to all images."""

    operation: Operation
    magnitude: float


class Chain(NamedTuple):
    """Operations that are applied one after the other; the severity is 0 mild, 1 medium, 2 severe."""

    steps: tuple[Step, ...]
    severity: int


def rehearsal_plan(colour: bool) -> tuple[Chain, ...]:
    """Return what is rehearsed.

    Parameters
    ----------
    colour : bool
        Whether the images have colours.
    """
    operations = [operation for operation in REHEARSED if colour or not operation.colour]
    single = [
        Chain((Step(operation, magnitude),), severity)
        for severity in ORDER
        for operation in operations
        for magnitude in operation.severities[severity]
    ]
    return (*single, *_mixtures(operations))


def apply_chain(pixels: Pixels, chain: Chain, seed: int) -> Pixels:
    """Return images (n, H, W) or (n, H, W, 3) after the operations of a chain."""
    rng = np.random.default_rng(seed)
    for operation, magnitude in chain.steps:
        pixels = operation.apply(pixels, np.full(len(pixels), magnitude), rng)
    return pixels


def _mixtures(operations: list[Operation]) -> list[Chain]:
    """Return mixtures of two operations, each mild or medium, in the order in which they happen to a camera."""
    rng = np.random.default_rng(MIXTURE_SEED)
    pairs = [
        (first, second)
        for number, first in enumerate(operations)
        for second in operations[number + 1 :]
        if first.family != second.family
    ]
    chains = []
    for pair in rng.choice(len(pairs), MIXTURES, replace=False):
        severity = int(rng.integers(0, 2))
        steps = [Step(one, float(rng.choice(one.severities[severity]))) for one in pairs[pair]]
        chains.append(Chain(tuple(steps), severity))
    return chains
