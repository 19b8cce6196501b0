"""`tidemark check`: one offline test of a window against a reference, for a CI job that gates a data set."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..drift import Reference, WindowTest
from ..drift.window import MIN_WINDOW
from ..errors import TidemarkError
from ..inference.projection import projected


def check(reference_path: Path, window_path: Path) -> dict[str, Any]:
    """Return the window report of two .npz files.

    Raises
    ------
    TidemarkError
        A file is no npz, lacks an array, or holds arrays that do not fit the other's.
    """
    reference_arrays, window_arrays = load_arrays(reference_path), load_arrays(window_path)
    try:
        reference = Reference.of(reference_arrays)
        test = WindowTest(reference, window_size=max(len(window_arrays["embeddings"]), MIN_WINDOW))
        return dict(
            test(window_arrays["embeddings"], window_arrays["probabilities"], window_arrays.get("properties")).to_dict()
        )
    except ValueError as error:
        raise TidemarkError(f"{reference_path} and {window_path}: {error}") from None


def load_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of an .npz with at least `embeddings` and `probabilities`.

    Embeddings of more than 2,048 values are projected as those of a model that runs here are.

    Raises
    ------
    TidemarkError
        It is no npz, or lacks one of them.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise TidemarkError(f"{path}: expected an .npz: {error}") from None
    for name in ("embeddings", "probabilities"):
        if name not in arrays:
            raise TidemarkError(f"{path}: expected the array {name}, found {', '.join(arrays) or 'nothing'}")
    if arrays["embeddings"].ndim == 2 and arrays["embeddings"].dtype.kind in "fiu":
        arrays["embeddings"] = projected(arrays["embeddings"])
    return arrays
