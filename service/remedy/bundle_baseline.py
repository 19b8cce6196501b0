"""`baseline.npz` in a remedy's bundle: the traffic that the remedy is for, as the new model sees it.

The new model is compared with that traffic, not with the images that the old one was tried on: else the change that the
remedy is for would raise the same alert again.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ..inference.bundle import BASELINE_FILE, BrokenBundle
from ..store.baselines import AcceptedPart
from ..store.logged import HALF
from .span import Span


@dataclass(frozen=True, eq=False)
class BundleBaseline:
    """Traffic that a bundle was made for.

    Parameters
    ----------
    what : {"mix", "images", "all"}
        What of it is normal for the new model.
    span : pair of datetime
        When it came.
    stream : str
        The stream of the model that the remedy was made for.
    arrays : dict
        ids (n, 16), embeddings (n, d), probabilities (n, k) of the new model, and where known properties (n, p).
    """

    what: AcceptedPart
    span: tuple[dt.datetime, dt.datetime]
    stream: str
    arrays: dict[str, NDArray[Any]]


def write_baseline(folder: Path, span: Span, probabilities: NDArray[np.floating], what: AcceptedPart) -> Path:
    """Write a span's traffic into a bundle's folder, with the new model's probabilities (n, k); return the file."""
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.frombuffer(b"".join(key.bytes for key in span.ids), np.uint8).reshape(-1, 16),
        "embeddings": span.sample.embeddings.astype(HALF),
        "probabilities": np.asarray(probabilities).astype(HALF),
    }
    if span.sample.properties is not None:
        arrays["properties"] = span.sample.properties
    path = folder / BASELINE_FILE
    np.savez_compressed(
        path,
        what=np.array(what),
        span=np.array([span.since.isoformat(), span.until.isoformat()]),
        stream=np.array(span.stream),
        **arrays,  # type: ignore[arg-type]  # numpy's keyword `allow_pickle` is none of them
    )
    return path


def read_baseline(folder: Path) -> BundleBaseline | None:
    """Return the traffic that a bundle was made for, or None where it was made for none.

    Raises
    ------
    BrokenBundle
        The file cannot be read.
    """
    path = folder / BASELINE_FILE
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files}
        since, until = (dt.datetime.fromisoformat(str(text)) for text in values["span"])
        what = next(name for name in ("mix", "images", "all") if name == str(values["what"]))
        arrays = {name: values[name] for name in ("ids", "embeddings", "probabilities")}
        if "properties" in values:
            arrays["properties"] = values["properties"]
        return BundleBaseline(what, (since, until), str(values["stream"]), arrays)
    except (OSError, ValueError, KeyError, StopIteration, BadZipFile) as error:
        raise BrokenBundle(f"{path}: cannot read it: {error}") from None
