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
    period : int
        Predictions of a cycle.
    burst : int
        Predictions of one class that follow each other.
    """

    def __init__(
        self, rng: np.random.Generator, amplitude: float, time: int = 0, period: int = PERIOD, burst: int = 1
    ) -> None:
        self.rng, self.amplitude, self.time = rng, amplitude, time
        self.period, self.burst = period, burst

    def __call__(self, n: int, move: float = 0.0, prior: Sequence[float] | None = None) -> Arrays:
        """Return the next n predictions, whose images are moved besides, of classes in equal or other proportions."""
        phase = 2 * np.pi * (self.time + np.arange(n)) / self.period
        self.time += n
        shift = (move + self.amplitude * (1 + np.sin(phase)))[:, None]
        labels = np.repeat(WORLD.labels(-(-n // self.burst), self.rng, prior), self.burst)[:n]
        arrays = WORLD.see(labels, self.rng, move=shift)
        return arrays | {"context": np.stack([np.sin(phase), np.cos(phase)], axis=1)}


def without_context(arrays: Arrays) -> Arrays:
    return {name: values for name, values in arrays.items() if name != "context"}
