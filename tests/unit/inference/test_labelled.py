from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tidemark.inference import labelled_images
from tidemark.inference.bundle import Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.labelled_images import BrokenImages, LabelledImages

Make = Callable[..., Path]
RNG = np.random.default_rng(0)


@pytest.fixture
def bundle(make_mlp: Make, tmp_path: Path) -> Bundle:
    (tmp_path / "labels.txt").write_text("cat\ndog\nfox\nowl\n")
    return init_bundle(make_mlp(), tmp_path / "bundle", labels=tmp_path / "labels.txt")


def read(images: LabelledImages) -> tuple[np.ndarray, np.ndarray]:
    batches = list(images.batches())
    pixels = [image.pixels for decoded, _ in batches for image in decoded]
    return np.stack(pixels), np.concatenate([labels for _, labels in batches])


def archive(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Class folders in which every pixel is the class's own grey."""
    for number, name in enumerate(("cat", "dog", "owl")):
        (tmp_path / "images" / name / "more").mkdir(parents=True)
        for index in range(5):
            place = tmp_path / "images" / name / ("more" if index % 2 else ".")
            Image.new("RGB", (10 + index, 9), (60 * number,) * 3).save(place / f"{index}.png")
    return tmp_path / "images"


def test_class_folders_are_matched_by_name(bundle: Bundle, folders: Path) -> None:
    images = LabelledImages(bundle, folders)
    pixels, labels = read(images)
    assert len(images) == 15
    assert sorted(labels.tolist()) == [0] * 5 + [1] * 5 + [3] * 5
    greys = {0: 0, 1: 60, 3: 120}
    assert all(image.max() == greys[label] for image, label in zip(pixels, labels.tolist(), strict=True))
    assert images.duplicates == 12  # one colour, one size: each class is one picture


def test_unreadable_files_are_named_and_skipped(bundle: Bundle, folders: Path) -> None:
    (folders / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folders / "dog" / "notes.txt").write_text("mine")
    (folders / "dog" / ".hidden").write_text("not looked at")
    images = LabelledImages(bundle, folders)
    _, labels = read(images)
    assert len(labels) == 15
    assert len(images.unreadable) == 2
    assert any("broken.png: " in line for line in images.unreadable)
    assert any("notes.txt: not an image" in line for line in images.unreadable)


def test_an_image_of_too_many_pixels_is_named_and_skipped(
    bundle: Bundle, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled_images, "MAX_PIXELS", 10_000)
    Image.new("L", (100, 100)).save(folders / "cat" / "fits.png")
    Image.new("L", (101, 100)).save(folders / "cat" / "large.png")
    images = LabelledImages(bundle, folders)
    assert len(read(images)[1]) == 16
    [line] = images.unreadable
    assert "large.png: " in line
    assert "pixels" in line


def test_an_unknown_class_folder_is_named(bundle: Bundle, folders: Path) -> None:
    (folders / "wolf").mkdir()
    with pytest.raises(BrokenImages, match="no class of the model is called 'wolf'; it has cat, dog"):
        LabelledImages(bundle, folders)


@pytest.mark.parametrize("content", ["nothing", "empty", "files", "no files"])
def test_a_folder_without_images(bundle: Bundle, tmp_path: Path, content: str) -> None:
    path = tmp_path / "images"
    if content != "nothing":
        path.mkdir()
    if content == "files":
        (path / "a.png").write_bytes(b"")
    if content == "no files":
        (path / "cat").mkdir()
    with pytest.raises(BrokenImages):
        LabelledImages(bundle, path)


@pytest.mark.parametrize("shape", [(8, 8), (20, 12), (20, 12, 3)])
def test_arrays_come_out_at_the_model_s_size_and_remember_their_own(
    bundle: Bundle, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    stored = RNG.integers(0, 256, (70, *shape), dtype=np.uint8)
    path = archive(tmp_path / "a.npz", images=stored, labels=np.arange(70) % 4)
    images = LabelledImages(bundle, path)
    decoded = [image for batch, _ in images.batches() for image in batch]
    assert {image.pixels.shape for image in decoded} == {(8, 8)}
    assert {(image.height, image.width) for image in decoded} == {shape[:2]}
    if shape == (8, 8):
        assert sorted(image.pixels.tobytes() for image in decoded) == sorted(image.tobytes() for image in stored)


def test_labels_stay_with_their_images(bundle: Bundle, tmp_path: Path) -> None:
    labels = RNG.integers(0, 4, 150)
    stored = np.repeat(np.repeat(labels[:, None, None] * 50, 8, axis=1), 8, axis=2).astype(np.uint8)
    pixels, label_indices = read(LabelledImages(bundle, archive(tmp_path / "a.npz", images=stored, labels=labels)))
    np.testing.assert_array_equal(pixels[:, 0, 0], 50 * label_indices)


def test_a_limit_keeps_each_class_s_share_and_is_the_same_each_time(bundle: Bundle, tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    stored = RNG.integers(0, 256, (1000, 8, 8), dtype=np.uint8)
    path = archive(tmp_path / "a.npz", images=stored, labels=labels)
    pixels, label_indices = read(LabelledImages(bundle, path, limit=100))
    assert np.abs(np.bincount(label_indices) - [60, 30, 10]).max() <= 1
    again, _ = read(LabelledImages(bundle, path, limit=100))
    np.testing.assert_array_equal(pixels, again)
    other, _ = read(LabelledImages(bundle, path, limit=100, seed=1))
    assert not np.array_equal(pixels, other)


IMAGES = np.zeros((4, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": IMAGES}, "expected arrays images and labels, found images"),
        ({"images": IMAGES.astype(float), "labels": [0] * 4}, r"uint8 N×H×W or N×H×W×3, found float64 \(4, 8, 8\)"),
        ({"images": IMAGES[..., None], "labels": [0] * 4}, "uint8 N×H×W"),
        ({"images": IMAGES, "labels": [0] * 3}, "labels must be 4 integers"),
        ({"images": IMAGES, "labels": ["cat"] * 4}, "labels must be 4 integers"),
        ({"images": IMAGES, "labels": [0, 1, 2, 4]}, r"labels run 0..4, the model's 0..3"),
        ({"images": IMAGES[:0], "labels": np.zeros(0, int)}, "holds no images"),
        ({"images": np.array([None] * 4), "labels": [0] * 4}, "allow_pickle"),
    ],
)
def test_arrays_that_cannot_be_used(bundle: Bundle, tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    with pytest.raises(BrokenImages, match=says):
        LabelledImages(bundle, archive(tmp_path / "a.npz", **arrays))


@pytest.mark.parametrize("content", ["empty", "text", "truncated", "npy"])
def test_a_file_that_is_no_npz(bundle: Bundle, tmp_path: Path, content: str) -> None:
    path = archive(tmp_path / "a.npz", images=IMAGES, labels=[0] * 4)
    if content == "npy":
        with path.open("wb") as file:
            np.save(file, IMAGES)
    else:
        path.write_bytes({"empty": b"", "text": b"hello", "truncated": path.read_bytes()[:300]}[content])
    with pytest.raises(BrokenImages, match=r"expected an \.npz"):
        LabelledImages(bundle, path)


def test_folders_of_operating_systems_and_other_unicode_forms_are_read(make_mlp: Make, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("caf\u00e9\nThe\nnaïve\nd\n", encoding="utf-8")
    bundle = init_bundle(make_mlp(), tmp_path / "cafes", labels=tmp_path / "labels.txt")
    for name in ("cafe\u0301", "The", "__MACOSX"):
        (tmp_path / "images" / name / "__MACOSX").mkdir(parents=True)
        Image.new("L", (8, 8), 9).save(tmp_path / "images" / name / "0.png")
        Image.new("L", (8, 8), 9).save(tmp_path / "images" / name / "__MACOSX" / "0.png")
        (tmp_path / "images" / name / "Thumbs.db").write_bytes(b"")
    images = LabelledImages(bundle, tmp_path / "images")
    assert sorted(images.labels.tolist()) == [0, 1]
    (tmp_path / "images" / "the").mkdir()
    with pytest.raises(BrokenImages, match="called 'the'; did you mean 'The'\\? Names differ in case"):
        LabelledImages(bundle, tmp_path / "images")


@pytest.mark.parametrize("kind", ["folder", "npz", "marked"])
def test_images_without_labels_are_read_where_labels_are_not_required(
    bundle: Bundle, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "unlabelled"
    if kind == "folder":
        path.mkdir()
        for index in range(4):
            Image.new("L", (8, 8), 9 * index).save(path / f"{index}.png")
    else:
        path = archive(tmp_path / "a.npz", images=IMAGES, **({"labels": [-1] * 4} if kind == "marked" else {}))
    images = LabelledImages(bundle, path, labels_required=False)
    pixels, labels = read(images)
    assert (len(pixels), images.are_labelled, set(labels.tolist())) == (4, False, {-1})
    if kind == "folder":
        with pytest.raises(BrokenImages, match="expected a folder for each class"):
            LabelledImages(bundle, path)
