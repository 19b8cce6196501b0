"""The class proportions of `priors.json` as traffic: what a model that corrects for them is compared with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...drift import Reference
from ...store.logged import HALF
from .priors_file import Priors

DEFAULT_ROWS = 2000  # predictions of a file that does not say how many its proportions were estimated from
MIN_ROWS, MAX_ROWS = 500, 20_000  # predictions of an accepted baseline
SEED = 0


def traffic_of_mix(reference: Reference, priors: Priors) -> dict[str, NDArray[Any]]:
    """Return rows of a reference, drawn in the class proportions of a file, as a baseline keeps accepted traffic.

    There are as many as the proportions were estimated from, so that the baseline has the same sampling error.

    Raises
    ------
    ValueError
        The reference has no labels, or none of the classes.
    """
    if reference.labels is None:
        raise ValueError("the reference has no labels")
    count = int(np.clip(priors.predictions or DEFAULT_ROWS, MIN_ROWS, MAX_ROWS))
    weights = np.array([share.weight for share in priors.classes])[reference.labels]
    if not weights.sum() > 0:
        raise ValueError("the reference has no row of the classes that the file expects")
    rng = np.random.default_rng(SEED)
    rows = rng.choice(len(weights), count, p=weights / weights.sum())
    arrays: dict[str, NDArray[Any]] = {
        "ids": rng.integers(0, 256, (count, 16), dtype=np.uint8),
        "embeddings": reference.embeddings[rows].astype(HALF),
        "probabilities": reference.probabilities[rows].astype(HALF),
    }
    if reference.properties is not None:
        arrays["properties"] = reference.properties[rows]
    return arrays
