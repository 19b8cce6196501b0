"""Images for a reference: a folder of class folders or of images, or an .npz; bad files are named and skipped."""

import hashlib
import unicodedata
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
from .bundle import Bundle, InputSpec
from .images import DecodedImage, ImageRefused, decode, fit, in_mode

BATCH = 64  # images that are read at a time
MAX_PIXELS = 100_000_000  # pixels that one of the user's own files may have
UNKNOWN = -1  # the label of an image without one
IGNORED_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")  # made by archivers and operating systems
IGNORED_FILES = ("Thumbs.db", "desktop.ini")


class BrokenImages(TidemarkError):
    """Images that cannot be used: what was expected and what was found."""


@dataclass
class LabelledImages:
    """Images with their classes, in a fixed random order.

    Parameters
    ----------
    path : Path
        Folder of class folders, or .npz with `images` (uint8, N×H×W or N×H×W×3) and `labels` (int, N). Where labels are
        not required also a folder of images, or an .npz without `labels`.
    limit : int or None
        Use a random sample of this size, each class in proportion.
    labels_required : bool
        Whether images without labels are refused.

    `unreadable` and `duplicates` are complete once all of `batches` has been read.
    """

    bundle: Bundle
    path: Path
    limit: int | None = None
    seed: int = 0
    labels_required: bool = True
    unreadable: list[str] = field(default_factory=list, init=False)
    duplicates: int = field(default=0, init=False)
    _digests: set[bytes] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._items, labels = _npz(self) if self.path.suffix == ".npz" else _folders(self)
        indices = _stratified(labels, self.limit, np.random.default_rng(self.seed))
        self._indices, self._labels = indices, labels[indices]

    @property
    def are_labelled(self) -> bool:
        """Whether the classes of the images are known."""
        return bool((self._labels != UNKNOWN).all())

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The true class of each image, in the order in which they are read; of unreadable ones, too."""
        return self._labels

    def names(self) -> list[int | str]:
        """Return each image's file, or its index in the .npz, in the order in which they are read."""
        items = [self._items[index] for index in self._indices]
        return [str(item) if isinstance(item, Path) else int(at) for at, item in zip(self._indices, items, strict=True)]

    def batches(self, spec: InputSpec | None = None) -> Iterator[tuple[list[DecodedImage], NDArray[np.int64]]]:
        """Yield up to 64 images at a time with their labels.

        Parameters
        ----------
        spec : InputSpec or None
            How images are brought to the model's size, the bundle's unless given.
        """
        spec = spec or self.bundle.input
        for start in range(0, len(self), BATCH):
            images, labels = [], []
            for index, label in zip(self._indices[start : start + BATCH], self._labels[start:], strict=False):
                image = self._image(int(index), spec)
                if image is not None:
                    self._count(image)
                    images.append(image)
                    labels.append(label)
            if images:
                yield images, np.array(labels, np.int64)

    def _image(self, index: int, spec: InputSpec) -> DecodedImage | None:
        item = self._items[index]
        if not isinstance(item, Path):
            return _from_array(item, spec)
        try:
            return decode(item.read_bytes(), spec, MAX_PIXELS)
        except (OSError, ImageRefused) as error:
            self.unreadable.append(f"{item}: {error}")
            return None

    def _count(self, image: DecodedImage) -> None:
        digest = hashlib.blake2b(image.pixels.tobytes(), digest_size=16).digest()
        self.duplicates += digest in self._digests
        self._digests.add(digest)


def _npz(images: LabelledImages) -> tuple[Sequence[Any], NDArray[np.int64]]:
    path = images.path
    needed = {"images", "labels"} if images.labels_required else {"images"}
    try:
        with np.load(path, allow_pickle=False) as archive:
            if needed - set(archive.files):
                expected = " and ".join(sorted(needed))
                raise BrokenImages(f"{path}: expected arrays {expected}, found {', '.join(archive.files)}")
            pixels = archive["images"]
            labels = archive["labels"] if "labels" in archive.files else np.full(len(pixels), UNKNOWN)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BrokenImages(f"{path}: expected an .npz with images and labels: {error}") from None
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] != 3):
        raise BrokenImages(f"{path}: images must be uint8 N×H×W or N×H×W×3, found {pixels.dtype} {pixels.shape}")
    if labels.shape != (len(pixels),) or labels.dtype.kind not in "iu":
        raise BrokenImages(f"{path}: labels must be {len(pixels)} integers, found {labels.dtype} {labels.shape}")
    if not len(labels):
        raise BrokenImages(f"{path}: holds no images")
    classes, least = len(images.bundle.labels), UNKNOWN if (labels == UNKNOWN).all() else 0
    if labels.min() < least or labels.max() >= classes:
        raise BrokenImages(f"{path}: labels run {labels.min()}..{labels.max()}, the model's 0..{classes - 1}")
    return pixels, labels.astype(np.int64)


def _folders(images: LabelledImages) -> tuple[Sequence[Any], NDArray[np.int64]]:
    path = images.path
    if not path.is_dir():
        raise BrokenImages(f"{path}: expected a folder of class folders or an .npz, found nothing of the kind")
    entries = sorted(entry for entry in path.iterdir() if entry.is_dir())
    folders = [entry for entry in entries if not entry.name.startswith(".") and entry.name not in IGNORED_FOLDERS]
    if not folders:
        files = _files(path)
        if files and not images.labels_required:
            return files, np.full(len(files), UNKNOWN)
        names = ", ".join(images.bundle.labels[:5])
        raise BrokenImages(f"{path}: expected a folder for each class ({names}, …), found none")
    class_files: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        inside = _files(folder)
        class_files += inside
        labels += [_class_of(folder, images.bundle.labels)] * len(inside)
    if not class_files:
        raise BrokenImages(f"{path}: the class folders hold no files")
    return class_files, np.array(labels, np.int64)


def _files(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, without those that operating systems put there."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not file.name.startswith(".")
        and file.name not in IGNORED_FILES
        and not any(part in IGNORED_FOLDERS for part in file.relative_to(folder).parts)
    )


def _class_of(folder: Path, labels: tuple[str, ...]) -> int:
    """Return the class that a folder is named after; names are compared in Unicode's composed form."""
    name = unicodedata.normalize("NFC", folder.name)
    composed = [unicodedata.normalize("NFC", label) for label in labels]
    if name in composed:
        return composed.index(name)
    similar = [label for label in composed if label.casefold() == name.casefold()]
    hint = f"did you mean {similar[0]!r}? Names differ in case" if similar else f"it has {', '.join(labels[:10])}"
    raise BrokenImages(f"{folder.parent}: no class of the model is called {name!r}; {hint}")


def _stratified(labels: NDArray[np.int64], limit: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the indices of a random sample in which each class keeps its share, in random order."""
    order = rng.permutation(len(labels))
    if limit is None or limit >= len(labels):
        return order
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = (np.arange(len(members)) + rng.random()) / len(members)
    indices = np.argsort(rank, kind="stable")[:limit]
    return rng.permutation(indices)


def _from_array(pixels: NDArray[np.uint8], spec: InputSpec) -> DecodedImage:
    image = in_mode(Image.fromarray(pixels), spec.pixel_mode)
    height, width = pixels.shape[:2]
    return DecodedImage(fit(image, spec), width, height)
