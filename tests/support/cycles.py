"""Traffic of the made-up classifier whose images follow a cycle, as that of a day, with the cycle as its context."""

from collections.abc import Sequence

import numpy as np

from tests.support.worlds import Arrays, World

PERIOD = 2000  # predictions of a cycle
WORLD = World()


class Cycle:
    """Traffic that continues in time by itself.

    Parameters
    ----------
    amplitude : float
        Amplitude by how many deviations the images move, to either side of their mean.
    time : int
        Predictions that have passed of the first cycle.
    """

    def __init__(self, rng: np.random.Generator, amplitude: float, time: int = 0) -> None:
        self.rng, self.amplitude, self.time = rng, amplitude, time

    def __call__(self, n: int, move: float = 0.0, prior: Sequence[float] | None = None) -> Arrays:
        """Return the next n predictions, whose images are moved besides, of classes in equal or other proportions."""
        phase = 2 * np.pi * (self.time + np.arange(n)) / PERIOD
        self.time += n
        shift = (move + self.amplitude * (1 + np.sin(phase)))[:, None]
        arrays = WORLD.see(WORLD.labels(n, self.rng, prior), self.rng, move=shift)
        return arrays | {"context": np.stack([np.sin(phase), np.cos(phase)], axis=1)}


def without_context(arrays: Arrays) -> Arrays:
    return {name: values for name, values in arrays.items() if name != "context"}
