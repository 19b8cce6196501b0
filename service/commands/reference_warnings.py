"""What makes a reference weak, in sentences for its user."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inference.bundle import AnyBundle
from ..inference.labelled_images import LabelledImages

FEW_ROWS = 500  # rows, under which small shifts are not seen
FEW_OF_A_CLASS = 20  # rows below which shifts of a class are not detected
NAMED = 5  # unreadable files that are named


def warnings(bundle: AnyBundle, rows: int, labels: NDArray[Any] | None) -> list[str]:
    """Return the reasons for which this many rows, of these classes, are a weak reference."""
    texts = []
    if rows < FEW_ROWS:
        texts.append(f"{rows} rows are few: with fewer than {FEW_ROWS} small shifts are not seen")
    if labels is None:
        texts.append("no labels: Tidemark can neither report the kind of a shift nor estimate accuracy")
        return texts
    counts = np.bincount(labels, minlength=len(bundle.labels))
    rare = [f"{name} ({count})" for name, count in zip(bundle.labels, counts, strict=True) if count < FEW_OF_A_CLASS]
    if rare:
        texts.append(f"classes with fewer than {FEW_OF_A_CLASS} rows: {', '.join(rare)}; their shifts are not detected")
    return texts


def labelled_warnings(labelled: LabelledImages) -> list[str]:
    """Return the faults of images that have been read."""
    texts = []
    if labelled.duplicates:
        texts.append(
            f"{labelled.duplicates} images are exact duplicates of others: the reference is smaller than it looks"
        )
    for name in labelled.unreadable[:NAMED]:
        texts.append(f"skipped {name}")
    if len(labelled.unreadable) > NAMED:
        texts.append(f"skipped {len(labelled.unreadable)} unreadable files in all")
    return texts
