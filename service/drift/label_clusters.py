"""Which labels belong together: near-identical images, and images of one source within a short time."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .reference import Reference
from .temperature_scaling import LOG_OFFSET
from .types import Float32Array, IntArray

DIMENSIONS = 64  # random directions that distances are measured in: about 10 % of error, and 128 bytes a label
REMEMBERED = 1000  # labels that further ones are compared with, the newest
QUERIES = 500  # rows of the reference whose nearest neighbours are measured
COPY_QUANTILE = 0.01  # quantile of the distances to the nearest reference row, below which a label is a copy
BURST_QUANTILE = 0.1  # the same for images of one source within `BURST_SECONDS`
BURST_SECONDS = 60.0  # time within which images of one source may be of one object
MIN_DEVIATION_SHARE = 0.1  # share of the median deviation that each unit's deviation is at least taken to be
SEED = 0  # seed of the random directions


class ClusterScale(NamedTuple):
    """The distances below which two predictions of a model are of the same image, or of the same object.

    Parameters
    ----------
    directions : float32 (d + k, 64)
        Random directions, over the deviations of the embedding's units and of the log-probabilities.
    copy, burst : float
        Largest distance along the directions between copies, and between images of a burst.
    """

    directions: Float32Array
    copy: float
    burst: float

    @classmethod
    def from_reference(cls, reference: Reference) -> "ClusterScale":
        """Return the scale of a reference: how far its independent images are from their nearest neighbours."""
        rng = np.random.default_rng(SEED)
        features = _features(reference.embeddings, reference.probabilities)
        deviation = features.std(axis=0, dtype=np.float64)
        positive = deviation[deviation > 0]
        floor = MIN_DEVIATION_SHARE * float(np.median(positive)) if len(positive) else 1.0
        directions = rng.normal(size=(features.shape[1], DIMENSIONS)) / np.sqrt(DIMENSIONS)
        directions = (directions / np.maximum(deviation, floor)[:, None]).astype(np.float32)
        points = features @ directions
        rows = rng.permutation(len(points))[:QUERIES]
        squares = np.einsum("ij,ij->i", points, points)
        distances = squares[rows, None] + squares - 2 * points[rows] @ points.T
        distances[np.arange(len(rows)), rows] = np.inf
        nearest = np.sqrt(np.maximum(distances.min(axis=1), 0))
        copy, burst = np.quantile(nearest, [COPY_QUANTILE, BURST_QUANTILE]).tolist()
        return cls(directions, copy, burst)


class LabelClusters:
    """The clusters of the labels of a stream, in the order in which they come.

    A label joins the cluster of the nearest one among the last 1,000 if their images are copies of each other, or are
    of one source (the same tags), were predicted within a minute, and are nearer than nine of ten nearest neighbours in
    the reference. Independent images join by mistake rarely: in three of a hundred cases for as many labels a minute
    as a third of the reference's rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> reference = Reference(rng.normal(size=(500, 8)), rng.dirichlet([1, 1, 1], 500))
    >>> clusters = LabelClusters(ClusterScale.from_reference(reference))
    >>> image = rng.normal(size=8)
    >>> burst = np.stack([image, image + 0.001, rng.normal(size=8), image])
    >>> answers = np.full((4, 3), 1 / 3)
    >>> clusters.assign(burst, answers, times=[0.0, 1.0, 2.0, 9000.0], sources=[7, 7, 7, 8]).tolist()
    [0, 0, 1, 0]
    """

    def __init__(self, scale: ClusterScale) -> None:
        self._scale = scale
        self._points = np.zeros((0, DIMENSIONS), np.float16)
        self._times = np.zeros(0)
        self._sources = np.zeros(0, np.int64)
        self._clusters = np.zeros(0, np.int64)
        self._next = 0

    def assign(self, embeddings: ArrayLike, probabilities: ArrayLike, times: ArrayLike, sources: ArrayLike) -> IntArray:
        """Return the number of the cluster of each label (m,).

        Parameters
        ----------
        embeddings, probabilities : float (m, d) and (m, k)
            Embeddings and probabilities of the labelled predictions; a row with NaN stands alone.
        times : float (m,)
            When they were predicted, in seconds.
        sources : int (m,)
            Equal for predictions of one source.
        """
        features = _features(np.asarray(embeddings, dtype=np.float32), np.asarray(probabilities, dtype=np.float32))
        rows = features @ self._scale.directions
        with np.errstate(over="ignore"):
            points = rows.astype(np.float16)
        moments, tags = np.asarray(times, dtype=np.float64), np.asarray(sources, dtype=np.int64)
        m, first = len(points), len(self._points)
        stored = np.concatenate([self._points, points]).astype(np.float32)
        all_times, all_sources = np.concatenate([self._times, moments]), np.concatenate([self._sources, tags])
        numbers = np.concatenate([self._clusters, np.zeros(m, np.int64)])
        for row in range(first, first + m):
            numbers[row] = self._cluster(stored, all_times, all_sources, numbers, row)
        self._points = stored[-REMEMBERED:].astype(np.float16)
        self._times, self._sources = all_times[-REMEMBERED:], all_sources[-REMEMBERED:]
        self._clusters = numbers[-REMEMBERED:]
        return numbers[first:]

    def state(self) -> dict[str, ArrayLike]:
        """Return everything that is stored, as arrays and scalars; see `restore`."""
        return {
            "cluster_points": self._points,
            "cluster_times": self._times,
            "cluster_sources": self._sources,
            "cluster_numbers": self._clusters,
            "cluster_next": self._next,
        }

    @classmethod
    def restore(cls, scale: ClusterScale, state: Mapping[str, ArrayLike]) -> "LabelClusters":
        """Return clusters that continue where those that gave `state` stopped; new ones if it has none."""
        clusters = cls(scale)
        if "cluster_next" in state:
            clusters._points = np.asarray(state["cluster_points"], dtype=np.float16)
            clusters._times = np.asarray(state["cluster_times"], dtype=np.float64)
            clusters._sources = np.asarray(state["cluster_sources"], dtype=np.int64)
            clusters._clusters = np.asarray(state["cluster_numbers"], dtype=np.int64)
            clusters._next = int(np.asarray(state["cluster_next"]))
        return clusters

    def _cluster(
        self, points: Float32Array, times: NDArray[np.float64], sources: IntArray, numbers: IntArray, row: int
    ) -> int:
        """Return the cluster of the label at `row`, by those before it."""
        before = slice(max(row - REMEMBERED, 0), row)
        distances = np.sqrt(((points[before] - points[row]) ** 2).sum(axis=1))
        in_burst = (sources[before] == sources[row]) & (np.abs(times[before] - times[row]) <= BURST_SECONDS)
        near = distances <= np.where(in_burst, self._scale.burst, self._scale.copy)  # False where a point is NaN
        if near.any():
            return int(numbers[before][np.where(near, distances, np.inf).argmin()])
        self._next += 1
        return self._next - 1


def _features(embeddings: Float32Array, probabilities: Float32Array) -> Float32Array:
    """Return what predictions are compared by (m, d + k): a constant embedding alone would make all of them copies."""
    logarithms = np.log(np.clip(probabilities, 0, 1) + LOG_OFFSET)
    return np.concatenate([embeddings, logarithms], axis=1, dtype=np.float32)
