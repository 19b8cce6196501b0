"""The parts of the detector's score rows: layout, groups of rare classes, rounding, overdispersion."""

import numpy as np
import pytest

from tests.support.worlds import World
from tidemark.drift import DetectorScores
from tidemark.drift.overdispersion import Overdispersion
from tidemark.drift.rare_classes import MAX_GROUPS, MIN_GROUP_ROWS, rare_class_groups
from tidemark.drift.score_layout import ColumnLayout
from tidemark.drift.scores import CLIP
from tidemark.drift.views import Leading, rounded_to_float16

WIDTHS = {"embedding": 6, "log_probability": 3, "property": 2, "lengths": 2, "ratios": 8, "key": 2}


def test_layout_of_rows_and_block_sums() -> None:
    layout = ColumnLayout.from_widths(WIDTHS, whitened=4, embedding=6)
    assert (layout.row_width, layout.block_width, layout.grouped) == (23, 25, 17)
    assert layout.row["ratios"] == slice(13, 21)
    assert layout.block["ratios"] == slice(17, 25)
    assert layout.shared == slice(6, 21)
    groups = layout.groups()
    assert [group.columns for group in groups][-2:] == [slice(15, 16), slice(16, 17)]
    assert [group.leading for group in groups] == [
        Leading.EMBEDDING,
        Leading.EMBEDDING,
        Leading.LOG_PROBABILITY,
        Leading.PROPERTY,
        Leading.EMBEDDING,
        Leading.PROPERTY,
    ]


def test_layout_without_properties_has_no_group_of_them() -> None:
    layout = ColumnLayout.from_widths(WIDTHS | {"property": 0, "lengths": 1}, whitened=4, embedding=6)
    assert Leading.PROPERTY not in [group.leading for group in layout.groups()]


@pytest.mark.parametrize("d", [16, 300])
def test_score_rows_are_bounded_and_centred_on_the_reference(d: int) -> None:
    rng = np.random.default_rng(0)
    world = World(d=d)
    scores = DetectorScores(world.reference(400, rng))
    wide = scores.widen(scores.of_reference)
    assert wide.shape == (400, scores.layout.block_width)
    assert np.abs(wide[:, : scores.layout.grouped].mean(axis=0)).max() < 0.02
    outlier = world.traffic(2, rng, move=1e4)
    rows = scores(scores.reference.check(**outlier))
    assert np.isfinite(rows).all()
    assert np.abs(rows[:, scores.layout.row["embedding"]]).max() <= CLIP + 1e-5
    assert (wide[:, scores.layout.grouped :].mean(axis=0) < 0).all()  # a CUSUM of each ratio falls in control


@pytest.mark.parametrize(("d", "columns", "whitened"), [(150, 150, 128), (300, 192, 128)])
def test_wide_embeddings_are_compared_in_a_bounded_number_of_dimensions(d: int, columns: int, whitened: int) -> None:
    scores = DetectorScores(World(d=d).reference(700, np.random.default_rng(0)))
    widths = {name: part.stop - part.start for name, part in scores.layout.block.items()}
    assert (widths["embedding"], widths["whitened"]) == (columns, whitened)


def posterior_of(counts: list[int], confused: dict[int, int]) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = np.full((len(labels), len(counts)), 1e-3)
    rows[np.arange(len(labels)), labels] = 1
    for label, other in confused.items():
        rows[labels == label, other] = 0.5
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def test_rare_classes_are_joined_with_those_they_are_confused_with() -> None:
    groups = rare_class_groups(posterior_of([200, 200, 20, 20, 20, 20], {2: 5, 5: 2, 3: 4, 4: 3}))
    assert sorted(tuple(np.flatnonzero(column)) for column in groups.T) == [(0,), (1,), (2, 5), (3, 4)]


def test_a_single_rare_class_is_omitted() -> None:
    groups = rare_class_groups(posterior_of([200, 200, 5], {}))
    assert [np.flatnonzero(column).tolist() for column in groups.T] == [[0], [1]]


def test_a_thousand_classes_are_few_groups_with_enough_rows() -> None:
    posterior = np.random.default_rng(1).dirichlet(np.full(1000, 0.02), 3000)
    groups = rare_class_groups(posterior)
    assert groups.shape[1] <= MAX_GROUPS
    assert (posterior.sum(axis=0) @ groups >= MIN_GROUP_ROWS).all()
    assert (groups.sum(axis=1) == 1).all()


def test_rounding_to_float16_is_that_of_numpy() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.random(10_000), 10 ** rng.uniform(-12, 0, 100_000), [0, 1, 2**-14, 2**-24, 2**-25]])
    values = values.astype(np.float32)
    np.testing.assert_array_equal(rounded_to_float16(values), values.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(("value", "leading"), [("E", "embedding"), ("L", "soft_label"), ("repeats", "repeats")])
def test_leading_reads_values_of_earlier_versions(value: str, leading: str) -> None:
    assert Leading.parse(value) == leading
    assert Leading.parse("") is None


def test_overdispersion_is_detected_at_the_time_scale_that_it_has() -> None:
    rng = np.random.default_rng(3)
    time = np.arange(20_000)
    blocks = rng.normal(size=(20_000, 6)).astype(np.float32) * np.sqrt(10)
    steady, cycle = (Overdispersion([0, 4], 6, np.array([4.0, 2.0]), np.array([4.0, 2.0])) for _ in range(2))
    for index, block in enumerate(blocks):
        steady.add(block)
        cycle.add(block + np.float32(np.sin(2 * np.pi * time[index] / 4000)) * np.array([0, 0, 0, 0, 1.5, 0], "f4"))
    assert steady.design_effect < 1.3
    assert not steady.overdispersed
    assert cycle.design_effect > 3
    again = Overdispersion([0, 4], 6, np.array([4.0, 2.0]), np.array([4.0, 2.0]))
    again.restore(cycle.state())
    assert again.design_effect == cycle.design_effect
