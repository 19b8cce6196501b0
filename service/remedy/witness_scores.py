"""Witness scores: how much less typical of the reference each prediction of a span is than of the span."""

import numpy as np
from numpy.typing import NDArray

from ..drift.mmd import gaussian, median_squared_distance
from ..drift.reference import Reference
from ..drift.samples import Sample
from ..drift.views import View, Views

MAX_ROWS = 5000  # most rows of the reference that are compared with


def witness_scores(reference: Reference, sample: Sample, seed: int = 0) -> NDArray[np.float64]:
    """Return the witness score of each row (m,): the witness function of the embeddings (Gretton et al. 2012,
    section 2.3), higher the less a row is like the reference, in deviations of the sample's own."""
    rng = np.random.default_rng(seed)
    views = Views(reference)
    reference_rows = views(reference.sample.rows(np.sort(rng.permutation(len(reference))[:MAX_ROWS])))[View.EMBEDDING]
    rows = views(sample)[View.EMBEDDING]
    bandwidth = median_squared_distance(reference_rows)
    near = gaussian(reference_rows, rows, bandwidth).mean(axis=0, dtype=np.float64)
    kernel = gaussian(rows, rows, bandwidth)
    np.fill_diagonal(kernel, 0)
    witness = kernel.sum(axis=1, dtype=np.float64) / (len(rows) - 1) - near
    deviation = witness.std()
    return np.asarray((witness - witness.mean()) / deviation if deviation > 0 else np.zeros(len(rows)))
