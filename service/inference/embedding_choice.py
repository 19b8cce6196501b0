"""Chooses the embedding among the tensors of which the class scores are made."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle_spec import BrokenBundle
from .fixed_projection import MAX_EMBEDDING_SIZE
from .model import pooled
from .network import Network
from .score_search import Scores


def choose_embedding(
    network: Network, scores: Scores, requested: str | None, image: NDArray[np.uint8], note: Callable[[str], None]
) -> tuple[str, NDArray[Any]]:
    """Return the embedding, with its value for one image: the one asked for, or the nearest with a row per image."""
    head = scores.source.head
    names = (requested,) if requested else head.embeddings
    # The mean colours of an image are no embedding of it: only a row of an image's values is one without weights.
    axes = (2,) if head.missing_weights and not requested else range(2 if network.spec.is_batched else 1, 9)
    usable: dict[str, NDArray[Any]] = {}
    for name in names:
        [values] = network.run_once(image, [name])
        if values.dtype.kind in "fiu" and values.ndim in axes:
            rows = network.bound or 1
            if not network.spec.is_batched or len(values) == rows:
                usable[name] = values
    if not usable and head.missing_weights and not requested:
        raise BrokenBundle(head.missing_weights)
    if not usable:
        raise BrokenBundle(
            f"no embedding: {', '.join(names)} before {scores.source.output} has no row "
            "per image; name a tensor of the graph by --embedding NAME"
        )
    first = next(iter(usable))
    if len(usable) > 1:
        note(f"several embeddings lead to the scores: {', '.join(usable)}; {first} is used, choose by --embedding NAME")
    if first == network.spec.name:
        note("no layer lies before the scores: the embedding is the model's input, and drift is sought in its values")
    size = pooled(usable[first]).shape[1] if usable[first].ndim > 1 else usable[first].size
    if size > MAX_EMBEDDING_SIZE:
        note(f"the embedding has {size} values; a fixed projection reduces it to {MAX_EMBEDDING_SIZE}")
    return first, usable[first]
