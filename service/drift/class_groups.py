"""Groups of similar classes, so that models of hundreds of classes have columns with enough rows in each."""

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from .types import Float32Array, IntArray

MAX_CLASSES = 128  # classes that are compared one by one; with more, similar ones are grouped
MIN_GROUP_ROWS = 30  # expected rows in a group: fewer do not show a change of its share


def group_classes(probabilities: Float32Array) -> IntArray:
    """Assign each class to a group of classes that the model confuses.

    Classes are ordered by average-linkage clustering of the soft confusion matrix, and consecutive ones are joined
    until a group holds 30 expected rows. The result is a symmetric function of the rows: it does not depend on which
    of them came from the window.

    Parameters
    ----------
    probabilities : float32 (n, k)
        Probabilities of reference and window together.

    Returns
    -------
    int64 (k,), the group of each class, from 0 to at most 127. With 128 or fewer classes each is a group of its own.
    """
    n, k = probabilities.shape
    if k <= MAX_CLASSES:
        return np.arange(k)
    expected = probabilities.sum(axis=0, dtype=np.float64)
    rows_per_group = max(MIN_GROUP_ROWS, n / (MAX_CLASSES - 1))
    similarity = (probabilities.T @ probabilities).astype(np.float64)
    scale = np.sqrt(np.maximum(np.diag(similarity), 1e-12))
    distance = np.clip(1 - similarity / scale / scale[:, None], 0, 1)
    np.fill_diagonal(distance, 0)
    order = hierarchy.leaves_list(hierarchy.linkage(squareform(distance, checks=False), "average"))
    groups = np.empty(k, dtype=np.int64)
    groups[order] = np.minimum(np.cumsum(expected[order]) // rows_per_group, MAX_CLASSES - 1)
    return np.unique(groups, return_inverse=True)[1]
