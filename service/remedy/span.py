"""A span of logged traffic with the reference that it is compared with: what every remedy starts from."""

from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from service.drift import Reference
from service.drift.reference import Sample

UNKNOWN = -1  # the label of a prediction without feedback


@dataclass(frozen=True, eq=False)
class Span:
    """Predictions of a stream between two times, in commit order."""

    stream: str  # model:version, with the slice where it has one
    reference: Reference
    sample: Sample  # embeddings (m, d), probabilities (m, k), properties (m, p) or None
    ids: tuple[UUID, ...]
    labels: NDArray[np.int64]  # (m,) what feedback said, UNKNOWN elsewhere

    def __len__(self) -> int:
        return len(self.sample)
