"""Predictions as the columns of a spool's row, and back."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..store.logged import HALF, LABEL, SINGLE, Logged

COLUMNS = "model, ids, labels, confidences, probabilities, embeddings, properties, tags, corrected, thumbnails"
LENGTH = np.dtype("<u4")  # type of the length of a byte string among several


class Columns(NamedTuple):
    """Predictions as the values of `COLUMNS`; a part is None where none of them has it."""

    model: str
    ids: bytes
    labels: bytes
    confidences: bytes
    probabilities: bytes
    embeddings: bytes
    properties: bytes | None
    tags: bytes | None
    corrected: bytes | None
    thumbnails: bytes | None


Layout = tuple[str | int | bool | None, ...]  # the properties that batches must share to be joined


def encode(batch: Logged) -> Columns:
    """Return predictions as the values of `COLUMNS`."""
    return Columns(
        batch.model,
        batch.ids,
        batch.labels.tobytes(),
        batch.confidences.tobytes(),
        batch.probabilities.tobytes(),
        batch.embeddings.tobytes(),
        None if batch.properties is None else batch.properties.tobytes(),
        _packed(batch.tags),
        None if batch.corrected is None else batch.corrected.tobytes(),
        _packed(batch.thumbnails),
    )


def layout(count: int, columns: Columns) -> Layout:
    """Return what batches have in common that can be one: the model, which parts there are, and their widths."""
    parts = (columns.probabilities, columns.embeddings, columns.properties, columns.corrected)
    widths = [None if part is None else len(part) // count for part in parts]
    return (columns.model, *widths, columns.tags is None, columns.thumbnails is None)


def decode(counts: Sequence[int], batches: Sequence[Columns]) -> Logged:
    """Return batches of one layout, each the values of `COLUMNS`, as one.

    Raises
    ------
    ValueError
        The parts of a batch are not of as many predictions as it counts.
    """
    models, *parts = zip(*batches, strict=True)
    ids, labels, confidences, probabilities, embeddings, properties, tags, corrected, thumbnails = parts
    m = sum(counts)

    def matrix(blobs: Sequence[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
        return np.frombuffer(b"".join(blobs), dtype).reshape(m, -1)

    def strings(blobs: Sequence[bytes]) -> list[bytes]:
        return [value for blob, count in zip(blobs, counts, strict=True) for value in _unpack(blob, count)]

    return Logged(
        models[0],
        b"".join(ids),
        np.frombuffer(b"".join(labels), LABEL),
        np.frombuffer(b"".join(confidences), SINGLE),
        matrix(probabilities, HALF),
        matrix(embeddings, HALF),
        None if properties[0] is None else matrix(properties, SINGLE),
        None if tags[0] is None else strings(tags),
        None if corrected[0] is None else matrix(corrected, HALF),
        None if thumbnails[0] is None else strings(thumbnails),
    )


def _packed(values: Sequence[bytes] | None) -> bytes | None:
    """Return byte strings as their lengths and then all of them."""
    if values is None:
        return None
    return np.fromiter(map(len, values), LENGTH, len(values)).tobytes() + b"".join(values)


def _unpack(data: bytes, count: int) -> list[bytes]:
    first = count * LENGTH.itemsize
    ends = (first + np.frombuffer(data, LENGTH, count).cumsum()).tolist()
    return [data[start:end] for start, end in zip([first, *ends], ends, strict=False)]
