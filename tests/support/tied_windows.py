"""P-values of windows whose statistics have ties: few classes, sure predictions, few values, redundant columns.

Permutations of such rows are often as extreme as the window, but for rounding errors. As a program, the module prints
the p-values, for a comparison of processors.
"""

import json
from collections.abc import Callable

import numpy as np

from tests.support.calibration import brief_window_tests
from tests.support.worlds import Arrays, World
from tidemark.drift import Reference, WindowTest, combination

ROWS, WINDOW = 240, 60  # rows of a reference and of a window
REFERENCES = 4  # of each world, with a calm and a shifted window each


def sure(arrays: Arrays) -> Arrays:
    """Return the predictions with probabilities of 0 and 1, and embeddings and properties of few values."""
    certain = np.eye(arrays["probabilities"].shape[1], dtype=np.float32)[arrays["probabilities"].argmax(axis=1)]
    return {
        "embeddings": np.round(arrays["embeddings"]),
        "probabilities": certain,
        "properties": np.round(2 * arrays["properties"]),
    }


def redundant(arrays: Arrays) -> Arrays:
    """Return the predictions with their probabilities, which add up to one, as embeddings."""
    return arrays | {"embeddings": arrays["probabilities"]}


WORLDS: dict[str, tuple[World, Callable[[Arrays], Arrays]]] = {
    "two classes": (World(k=2, d=1), dict),
    "sure": (World(k=3, d=6), sure),
    "redundant": (World(k=4, d=4), redundant),
}


def brief_p_values() -> dict[str, list[float]]:
    """Return by world, reference and window the p-value of all statistics together and that of each, of 99 draws."""
    with brief_window_tests():
        return _p_values()


def _p_values() -> dict[str, list[float]]:
    table = {}
    for name, (world, change) in WORLDS.items():
        rng = np.random.default_rng(1)
        for number in range(REFERENCES):
            labels = world.labels(ROWS, rng)
            names = ("brightness", "contrast", "sharpness")
            reference = Reference(**change(world.see(labels, rng)), labels=labels, property_names=names)
            test = WindowTest(reference, window_size=WINDOW, seed=number)
            for move in (0.0, 0.2):
                outcome = test._test(test._validate(**change(world.traffic(WINDOW, rng, move=move))), 0)
                each = combination.p_values(outcome.table(tuple(outcome.values)))[:, 0].tolist()
                table[f"{name}, reference {number}, moved by {move}"] = [outcome.p_value, *each]
    return table


if __name__ == "__main__":
    print(json.dumps(brief_p_values()))
