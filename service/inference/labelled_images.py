"""Labelled images for a reference: a folder of class folders, or an .npz; bad files are named and skipped."""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import TidemarkError
from .bundle import Bundle
from .images import DecodedImage, ImageRefused, decode, fit, in_mode

BATCH = 64
MAX_PIXELS = 100_000_000  # of one of the user's own files


class BrokenImages(TidemarkError):
    """Labelled images that cannot be used: what was expected and what was found."""


@dataclass
class LabelledImages:
    """Images with their classes, in a fixed random order; counts what it met while being read.

    Parameters
    ----------
    path : folder of class folders, or .npz with `images` (uint8, N×H×W or N×H×W×3) and `labels` (int, N).
    limit : use a random part of this size, each class in proportion.
    """

    bundle: Bundle
    path: Path
    limit: int | None = None
    seed: int = 0
    unreadable: list[str] = field(default_factory=list, init=False)
    duplicates: int = field(default=0, init=False)
    _seen: set[bytes] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._items, labels = _npz(self) if self.path.suffix == ".npz" else _folders(self)
        chosen = _stratified(labels, self.limit, np.random.default_rng(self.seed))
        self._chosen, self._labels = chosen, labels[chosen]

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The true class of each image, in the order in which they are read; of unreadable ones, too."""
        return self._labels

    def names(self) -> list[int | str]:
        """Return each image's file, or its index in the .npz, in the order in which they are read."""
        items = [self._items[index] for index in self._chosen]
        return [str(item) if isinstance(item, Path) else int(at) for at, item in zip(self._chosen, items, strict=True)]

    def batches(self) -> Iterator[tuple[list[DecodedImage], NDArray[np.int64]]]:
        """Yield up to 64 images at a time with their labels."""
        for start in range(0, len(self), BATCH):
            images, labels = [], []
            for index, label in zip(self._chosen[start : start + BATCH], self._labels[start:], strict=False):
                image = self._image(int(index))
                if image is not None:
                    self._count(image)
                    images.append(image)
                    labels.append(label)
            if images:
                yield images, np.array(labels, np.int64)

    def _image(self, index: int) -> DecodedImage | None:
        item = self._items[index]
        if not isinstance(item, Path):
            return _from_array(item, self.bundle)
        try:
            return decode(item.read_bytes(), self.bundle.input, MAX_PIXELS)
        except (OSError, ImageRefused) as error:
            self.unreadable.append(f"{item}: {error}")
            return None

    def _count(self, image: DecodedImage) -> None:
        digest = hashlib.blake2b(image.pixels.tobytes(), digest_size=16).digest()
        self.duplicates += digest in self._seen
        self._seen.add(digest)


def _npz(images: LabelledImages) -> tuple[Sequence[Any], NDArray[np.int64]]:
    path = images.path
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = {"images", "labels"} - set(archive.files)
            if missing:
                raise BrokenImages(f"{path}: expected arrays images and labels, found {', '.join(archive.files)}")
            pixels, labels = archive["images"], archive["labels"]
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BrokenImages(f"{path}: expected an .npz with images and labels: {error}") from None
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] != 3):
        raise BrokenImages(f"{path}: images must be uint8 N×H×W or N×H×W×3, found {pixels.dtype} {pixels.shape}")
    if labels.shape != (len(pixels),) or labels.dtype.kind not in "iu":
        raise BrokenImages(f"{path}: labels must be {len(pixels)} integers, found {labels.dtype} {labels.shape}")
    if not len(labels):
        raise BrokenImages(f"{path}: holds no images")
    classes = len(images.bundle.labels)
    if labels.min() < 0 or labels.max() >= classes:
        raise BrokenImages(f"{path}: labels run {labels.min()}..{labels.max()}, the model's 0..{classes - 1}")
    return pixels, labels.astype(np.int64)


def _folders(images: LabelledImages) -> tuple[Sequence[Any], NDArray[np.int64]]:
    path, names = images.path, list(images.bundle.labels)
    if not path.is_dir():
        raise BrokenImages(f"{path}: expected a folder of class folders or an .npz, found nothing of the kind")
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise BrokenImages(f"{path}: expected a folder for each class ({', '.join(names[:5])}, …), found none")
    foreign = [name for name in folders if name not in names]
    if foreign:
        raise BrokenImages(f"{path}: no class of the model is called {foreign[0]!r}; it has {', '.join(names[:10])}")
    files: list[Path] = []
    labels: list[int] = []
    for name in folders:
        inside = sorted(file for file in (path / name).rglob("*") if file.is_file() and not file.name.startswith("."))
        files += inside
        labels += [names.index(name)] * len(inside)
    if not files:
        raise BrokenImages(f"{path}: the class folders hold no files")
    return files, np.array(labels, np.int64)


def _stratified(labels: NDArray[np.int64], limit: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the indices of a random part in which each class keeps its share, in random order."""
    order = rng.permutation(len(labels))
    if limit is None or limit >= len(labels):
        return order
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = (np.arange(len(members)) + rng.random()) / len(members)
    chosen = np.argsort(rank, kind="stable")[:limit]
    return rng.permutation(chosen)


def _from_array(pixels: NDArray[np.uint8], bundle: Bundle) -> DecodedImage:
    image = Image.fromarray(pixels)
    height, width = pixels.shape[:2]
    converted = in_mode(image, bundle.input.pixel_mode)
    return DecodedImage(fit(converted, bundle.input), width, height)
