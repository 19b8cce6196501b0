import numpy as np

from tidemark.drift import Reference
from tidemark.drift.neighbours import Neighbours

RNG = np.random.default_rng(0)
SCALES = np.array([1.0, 100.0, 0.5])  # a unit with large numbers must not decide alone
ROWS = RNG.normal(size=(300, 3)) * SCALES
LABELS = RNG.integers(0, 2, 300)
REFERENCE = Reference(ROWS, RNG.dirichlet([1, 1], 300), LABELS, class_names=["cat", "dog"])
CANDIDATES = np.arange(0, 300, 3)


def test_neighbours_are_the_nearest_rows_with_thumbnails_in_deviations() -> None:
    sample = REFERENCE.sample.rows(np.array([1, 50, 100]))
    standard = (ROWS - ROWS.mean(axis=0)) / ROWS.std(axis=0)
    for query, neighbours in zip((1, 50, 100), Neighbours(REFERENCE, CANDIDATES)(sample, count=4), strict=True):
        distances = np.sqrt(((standard[CANDIDATES] - standard[query]) ** 2).mean(axis=1))
        assert [one.row for one in neighbours] == CANDIDATES[np.argsort(distances)][:4].tolist()
        assert np.allclose([one.distance for one in neighbours], np.sort(distances)[:4], rtol=1e-3)
        assert [one.label for one in neighbours] == [["cat", "dog"][LABELS[one.row]] for one in neighbours]


def test_fewer_rows_with_thumbnails_than_asked_for() -> None:
    (neighbours,) = Neighbours(REFERENCE, np.array([7]))(REFERENCE.sample.rows(np.array([0])), count=3)
    assert [one.row for one in neighbours] == [7]


def test_a_reference_without_labels_names_none() -> None:
    reference = Reference(ROWS, REFERENCE.probabilities)
    (neighbours,) = Neighbours(reference, CANDIDATES)(reference.sample.rows(np.array([0])), count=1)
    assert (neighbours[0].row, neighbours[0].label, neighbours[0].distance) == (0, None, 0.0)
