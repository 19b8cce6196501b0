"""The names of a model's classes: read from a text file, and made different where two classes share a name."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from .bundle import BrokenBundle


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the labels of a text file with one a line; empty lines are left out.

    Raises
    ------
    BrokenBundle
        The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenBundle(f"--labels: cannot read {path}: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())


def unique_labels(labels: Sequence[str], note: Callable[[str], None]) -> tuple[str, ...]:
    """Return labels in Unicode's composed form, in which a name that several classes share has its class behind it.

    ImageNet has "crane" for a bird and for a machine: they become "crane (134)" and "crane (517)".
    """
    composed = [unicodedata.normalize("NFC", label) for label in labels]
    shared = {label for label, count in Counter(composed).items() if count > 1}
    if not shared:
        return tuple(composed)
    names = [f"{label} ({index})" if label in shared else label for index, label in enumerate(composed)]
    note(f"several classes are called {', '.join(sorted(shared)[:5])}: their numbers were put behind their names")
    return tuple(names)
