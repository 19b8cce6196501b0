"""Labels that come back for the traffic of a made-up classifier, right or with a planted fault."""

from typing import Any

import numpy as np

from tests.support.worlds import World
from tidemark.drift import ConceptMonitor

WORLD = World(k=6, spread=1.2)
RUN_TIME, SHARE = 100_000, 0.1  # predictions between two false alarms, and the share of them that is labelled


def feed(
    monitor: ConceptMonitor,
    rng: np.random.Generator,
    n: int,
    change: Any = lambda labels: labels,
    prior: Any = None,
    **options: Any,
) -> None:
    labels = WORLD.labels(n, rng, prior)
    probabilities = WORLD.see(labels, rng)["probabilities"]
    monitor.update(probabilities, probabilities.argmax(axis=1), change(labels), **options)


def swapped(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == 1, 4, np.where(labels == 4, 1, labels))


def accuracy_of(monitor: ConceptMonitor, *last: int) -> tuple[float, float, float, int]:
    """Return the measured accuracy with its interval and count, which there must be."""
    accuracy = monitor.accuracy(*last)
    assert accuracy is not None
    return accuracy


def flipped(rng: np.random.Generator, share: float = 0.1) -> Any:
    return lambda labels: np.where(rng.random(len(labels)) < share, (labels + 1) % 6, labels)


def delay(monitor: ConceptMonitor, rng: np.random.Generator, change: Any) -> int:
    threshold = monitor.threshold(RUN_TIME, SHARE)
    start = monitor.count
    while monitor.evidence <= threshold:
        feed(monitor, rng, 5, change)
        assert monitor.count < start + 2000
    return monitor.count - start
