"""`tidemark reference build --arrays`: a reference of what a model that is served elsewhere answered."""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..drift.rehearsals.record import rehearsal_arrays
from ..errors import TidemarkError
from ..inference.bundle import AnyBundle, Bundle
from ..inference.model import Model
from ..inference.properties import NAMES
from ..settings import Settings
from ..store.logged import HALF, halved
from .npz_arrays import load_arrays

ARRAY_NAMES = ("embeddings", "probabilities", "labels", "properties")


def read_arrays(bundle: AnyBundle, path: Path) -> dict[str, NDArray[Any]]:
    """Return a reference's arrays from an .npz with `embeddings` and `probabilities`, and where known the rest.

    Embeddings of more than 2,048 values are projected, and numbers rounded to float16, as those of logged traffic are.
    Properties are left out if the model is served elsewhere, for its traffic has none.

    Raises
    ------
    TidemarkError
        No such file, or arrays that are not this model's.
    """
    stored = load_arrays(path)
    names = tuple(stored["class_names"].tolist()) if "class_names" in stored else bundle.labels
    if [unicodedata.normalize("NFC", name) for name in names] != [
        unicodedata.normalize("NFC", label) for label in bundle.labels
    ]:
        raise TidemarkError(
            f"{path}: class_names are {_join_names(names)}, the labels in model.toml {_join_names(bundle.labels)}"
        )
    for name in ("embeddings", "probabilities"):
        if stored[name].ndim != 2 or stored[name].dtype.kind not in "fiu":
            raise TidemarkError(
                f"{path}: expected {name} as rows of numbers, found {stored[name].dtype} {stored[name].shape}"
            )
    columns, classes = stored["probabilities"].shape[1], len(bundle.labels)
    if columns != classes:
        raise TidemarkError(f"{path}: probabilities have {columns} columns, model.toml has {classes} labels")
    arrays = {name: stored[name] for name in ARRAY_NAMES if name in stored}
    if isinstance(bundle, Bundle):
        _check_running(bundle, arrays, path)
        arrays |= rehearsal_arrays(stored)
    else:
        arrays.pop("properties", None)
    arrays["embeddings"] = halved(arrays["embeddings"])
    arrays["probabilities"] = arrays["probabilities"].astype(HALF)
    arrays["class_names"] = np.array(bundle.labels)
    if "properties" in arrays:
        arrays["property_names"] = np.array(NAMES)
    return arrays


def _check_running(bundle: Bundle, arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """Raise what would not fit the predictions that the bundle's model is going to log."""
    size = Model(bundle, providers=Settings.load().providers).embedding_size
    if arrays["embeddings"].shape[1] != size:
        raise TidemarkError(f"{path}: embeddings have {arrays['embeddings'].shape[1]} columns, the model's have {size}")
    if "properties" in arrays and arrays["properties"].shape[1:] != (len(NAMES),):
        raise TidemarkError(
            f"{path}: expected properties in the columns {', '.join(NAMES)}, found {arrays['properties'].shape}"
        )


def _join_names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
