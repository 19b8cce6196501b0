"""Reads a reference or a window from an .npz file."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TidemarkError
from ..inference.fixed_projection import project


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
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
        arrays["embeddings"] = project(arrays["embeddings"])
    return arrays
