"""Each image operation does what its magnitude says, and nothing at its identity."""

import numpy as np
import pytest

from tidemark.inference.image_operations.catalogue import OPERATIONS
from tidemark.inference.image_operations.operation import Operation
from tidemark.inference.image_operations.optics import MAX_STEPS
from tidemark.inference.image_operations.plan import apply_chain, rehearsal_plan
from tidemark.inference.properties import NAMES, measure

BY_NAME = {operation.name: operation for operation in OPERATIONS}
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 20, 24), dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (5, 20, 24, 3), dtype=np.uint8)


def applied(name: str, images: np.ndarray, magnitude: float) -> np.ndarray:
    return BY_NAME[name].apply(images, np.full(len(images), magnitude), np.random.default_rng(2))


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.name != "jpeg"], ids=lambda one: one.name)
def test_identity_changes_nothing(operation: Operation) -> None:
    for images in (COLOURS,) if operation.colour else (IMAGES, COLOURS):
        assert np.array_equal(applied(operation.name, images, operation.identity), images)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_shape_and_type_stay(operation: Operation) -> None:
    for images in (COLOURS,) if operation.colour else (IMAGES, COLOURS):
        for magnitude in (*operation.grid, *operation.limits, *sum(operation.severities, ())):
            changed = applied(operation.name, images, magnitude)
            assert changed.shape == images.shape
    assert changed.dtype == np.uint8


def test_each_image_has_its_own_magnitude() -> None:
    changed = BY_NAME["brightness"].apply(IMAGES, np.linspace(0.2, 1, 5), np.random.default_rng(0))
    assert np.allclose(changed.mean(axis=(1, 2)) / IMAGES.mean(axis=(1, 2)), np.linspace(0.2, 1, 5), atol=0.01)


def test_turns_counter_clockwise_and_shifts_right_and_down() -> None:
    spot = np.zeros((1, 21, 21), np.uint8)
    spot[0, 10, 16] = 255  # right of the middle
    assert np.argwhere(applied("rotation", spot, 90)[0] > 99).tolist() == [[4, 10]]
    assert np.argwhere(applied("shift_x", spot, 2 / 21)[0] > 99).tolist() == [[10, 18]]
    assert np.argwhere(applied("shift_y", spot, 2 / 21)[0] > 99).tolist() == [[12, 16]]


@pytest.mark.parametrize(("length", "places"), [(2, 3), (100, MAX_STEPS)])
def test_motion_spreads_a_spot_over_a_bounded_number_of_places(length: int, places: int) -> None:
    spot = np.zeros((1, 200, 200), np.uint8)
    spot[0, 100, 100] = 255
    assert np.count_nonzero(applied("motion", spot, length / 200)) == places


def test_moved_images_keep_their_edges() -> None:
    flat = np.full((1, 20, 20), 77, np.uint8)
    for name, magnitude in (("rotation", 33), ("shift_x", 0.2), ("shift_y", -0.3), ("translation", 0.2), ("crop", 1.5)):
        assert (applied(name, flat, magnitude) == 77).all()


def test_light_grain_and_sharpness_are_as_properties_measure_them() -> None:
    grey = np.full((4, 40, 40), 128, np.uint8)
    assert abs(applied("noise", grey, 0.1).std() / 255 - 0.1) < 0.005
    sharp = measure(IMAGES, [24] * 5, [20] * 5)[:, NAMES.index("sharpness")]
    for name, magnitude in (("blur", 1.0), ("resolution", 0.5)):
        assert (
            measure(applied(name, IMAGES, magnitude), [24] * 5, [20] * 5)[:, NAMES.index("sharpness")] < sharp
        ).all()
    narrow = applied("contrast", IMAGES, 0.5)
    assert np.allclose(narrow.std(axis=(1, 2)), IMAGES.std(axis=(1, 2)) / 2, rtol=0.02)
    assert np.allclose(narrow.mean(axis=(1, 2)), IMAGES.mean(axis=(1, 2)), atol=1)
    assert np.array_equal(applied("gamma", IMAGES, 2.0), np.rint(255 * (IMAGES / 255) ** 2).astype(np.uint8))


def test_cast_is_red_up_and_blue_down() -> None:
    change = applied("cast", COLOURS // 2, 0.3).mean(axis=(0, 1, 2)) / (COLOURS // 2).mean(axis=(0, 1, 2))
    assert np.allclose(change, [1.3, 1, 0.7], atol=0.01)


def test_motion_smears_along_a_line() -> None:
    spots = np.zeros((40, 21, 21), np.uint8)
    spots[:, 10, 10] = 255
    rows, columns = np.nonzero(applied("motion", spots, 0.3).max(axis=0))
    assert set(zip(abs(rows - 10).tolist(), abs(columns - 10).tolist(), strict=True)) == {
        *((0, step) for step in range(4)),
        *((step, 0) for step in range(4)),
        *((step, step) for step in range(4)),
    }


def test_crop_enlarges_and_shrinks_about_the_middle() -> None:
    square = np.zeros((1, 40, 40), np.uint8)
    square[0, 15:25, 15:25] = 255
    for share, area in ((0.5, 400), (1.25, 64)):
        changed = applied("crop", square, share)[0] > 127
        assert abs(int(changed.sum()) - area) <= 0.15 * area
        assert abs(np.argwhere(changed).mean(axis=0) - 19.5).max() < 0.6


def test_occlusion_covers_the_share_of_the_side() -> None:
    changed = applied("occlusion", IMAGES, 0.5)
    for before, after in zip(IMAGES, changed, strict=True):
        rows, columns = np.nonzero(before != after)
        assert (int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1) == (10, 12)
        assert len(np.unique(after[rows, columns])) == 1


def test_fog_is_brighter_and_lower_in_contrast() -> None:
    veiled = applied("fog", IMAGES, 0.5)
    assert (veiled.mean(axis=(1, 2)) > IMAGES.mean(axis=(1, 2))).all()
    assert (veiled.std(axis=(1, 2)) < IMAGES.std(axis=(1, 2))).all()


@pytest.mark.parametrize("colour", [False, True])
def test_the_plan_rehearses_every_operation_at_every_severity_and_can_be_repeated(colour: bool) -> None:
    plan = rehearsal_plan(colour)
    single = {(chain.steps[0].operation.name, chain.severity) for chain in plan if len(chain.steps) == 1}
    named = {operation.name for operation in OPERATIONS if any(operation.severities)} - (set() if colour else {"cast"})
    assert single == {(name, severity) for name in named for severity in range(3)}
    assert {len(chain.steps) for chain in plan} == {1, 2}
    assert len(plan) <= 72
    images = COLOURS if colour else IMAGES
    for number, chain in enumerate(plan):
        assert np.array_equal(apply_chain(images, chain, number), apply_chain(images, chain, number))
