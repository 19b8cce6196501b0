"""Labels of copies and bursts are one cluster, independent ones are not."""

import numpy as np
import pytest

from tidemark.drift import Reference
from tidemark.drift.label_clusters import REMEMBERED, ClusterScale, LabelClusters

EVEN = np.full((2800, 3), 1 / 3)


@pytest.fixture(scope="module", params=[(16, 0), (64, 5), (512, 0)])
def world(request: pytest.FixtureRequest) -> tuple[ClusterScale, int]:
    """The scale of embeddings like those of a network: positive, sparse, with units of all sizes and dead ones."""
    d, dead = request.param
    rng = np.random.default_rng(d)
    embeddings = draw(2000, d, rng)
    embeddings[:, :dead] = 0
    return ClusterScale.from_reference(Reference(embeddings, rng.dirichlet([1, 1, 1], 2000))), d


def draw(count: int, d: int, rng: np.random.Generator) -> np.ndarray:
    return np.maximum(rng.normal(size=(count, d)), 0) * np.linspace(0.01, 3, d)


@pytest.mark.parametrize("size", [5, 20])
def test_a_burst_is_one_cluster_and_independent_images_are_not(world: tuple[ClusterScale, int], size: int) -> None:
    scale, d = world
    rng = np.random.default_rng(1)
    objects = draw(2000 // size, d, rng)
    frames = np.repeat(objects, size, axis=0)
    frames = np.maximum(frames + 0.02 * objects.std(axis=0) * rng.normal(size=frames.shape) * (frames > 0), 0)
    clusters = LabelClusters(scale).assign(frames, EVEN[:2000], np.arange(2000.0), np.zeros(2000, int))
    by_object = clusters.reshape(-1, size)
    assert (by_object == by_object[:, :1]).mean() > 0.98
    assert len(np.unique(by_object[:, 0])) > 0.9 * len(objects)


def test_independent_labels_stand_alone(world: tuple[ClusterScale, int]) -> None:
    scale, d = world
    rng = np.random.default_rng(2)
    clusters = LabelClusters(scale).assign(draw(2000, d, rng), EVEN[:2000], 10.0 * np.arange(2000), np.zeros(2000, int))
    assert len(np.unique(clusters)) > 0.93 * 2000


def test_a_copy_is_recognised_at_any_time_and_from_any_source(world: tuple[ClusterScale, int]) -> None:
    scale, d = world
    rng = np.random.default_rng(3)
    images = draw(100, d, rng)
    clusters = LabelClusters(scale)
    first = clusters.assign(images, EVEN[:100], np.zeros(100), np.zeros(100, int))
    again = clusters.assign(images, EVEN[:100], np.full(100, 1e6), np.arange(100))
    np.testing.assert_array_equal(first, again)


def test_clusters_continue_across_batches_and_restores() -> None:
    rng = np.random.default_rng(4)
    reference = Reference(draw(2000, 16, rng), rng.dirichlet([1, 1, 1], 2000))
    scale = ClusterScale.from_reference(reference)
    images, times = np.repeat(draw(700, 16, rng), 4, axis=0), np.arange(2800.0)
    whole = LabelClusters(scale).assign(images, EVEN, times, np.zeros(2800, int))
    parts, clusters = [], LabelClusters(scale)
    for first in range(0, 2800, 77):
        index = slice(first, first + 77)
        parts.append(clusters.assign(images[index], EVEN[index], times[index], np.zeros(len(times[index]), int)))
        clusters = LabelClusters.restore(scale, clusters.state())
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(np.asarray(clusters.state()["cluster_points"])) == REMEMBERED


def test_labels_without_an_embedding_stand_alone() -> None:
    rng = np.random.default_rng(5)
    scale = ClusterScale.from_reference(Reference(draw(100, 4, rng), rng.dirichlet([1, 1, 1], 100)))
    clusters = LabelClusters(scale).assign(np.full((5, 4), np.nan), EVEN[:5], np.zeros(5), np.zeros(5, int))
    assert clusters.tolist() == [0, 1, 2, 3, 4]


def test_under_a_constant_embedding_labels_are_distinguished_by_their_probabilities() -> None:
    rng = np.random.default_rng(6)
    scale = ClusterScale.from_reference(Reference(np.ones((1000, 4)), rng.dirichlet([1, 1, 1], 1000)))
    answers = rng.dirichlet([1, 1, 1], 100)
    clusters = LabelClusters(scale).assign(np.ones((100, 4)), answers, 100.0 * np.arange(100), np.zeros(100, int))
    assert len(np.unique(clusters)) > 90
