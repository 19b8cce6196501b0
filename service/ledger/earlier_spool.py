"""A spool that an earlier version left behind: a row a prediction, made into batches when it is adopted."""

import sqlite3
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.store.logged import HALF, LABEL, SINGLE, Logged

FIRST = "id, model, label, confidence, probabilities, embedding, properties, tags"  # the columns of the first version
LATER = ("corrected", "thumbnail")
BATCH = 500  # predictions


def convert(connection: sqlite3.Connection, insert: Callable[[Logged], None]) -> None:
    """Give the predictions of an earlier version to `insert` in their order, and drop their table, in one transaction.

    Parameters
    ----------
    insert : writes over `connection`.
    """
    present = {row[1] for row in connection.execute("PRAGMA table_info(rows)")}
    if not present:
        return
    columns = ", ".join([FIRST, *(name if name in present else f"NULL AS {name}" for name in LATER)])
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        rows = connection.execute(f"SELECT seq, {columns} FROM rows ORDER BY seq")
        for _, alike in groupby(rows, _kind):
            same = list(alike)
            for first in range(0, len(same), BATCH):
                insert(_batch(same[first : first + BATCH]))
        connection.execute("DROP TABLE rows")


def _kind(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return what the rows of one batch have in common: the model, which arrays there are, and their sizes."""
    _, _, model, _, _, probabilities, embedding, properties, _, corrected, thumbnail = row
    sizes = [None if data is None else len(data) for data in (probabilities, embedding, properties, corrected)]
    return (model, *sizes, thumbnail is None)


def _batch(rows: Sequence[Sequence[Any]]) -> Logged:
    _, ids, models, labels, confidences, probabilities, embeddings, properties, tags, corrected, thumbnails = zip(
        *rows, strict=True
    )

    def matrix(parts: Sequence[bytes | None], kind: np.dtype[Any]) -> NDArray[Any] | None:
        whole = [part for part in parts if part is not None]
        return np.frombuffer(b"".join(whole), kind).reshape(len(parts), -1) if whole else None

    said, embedded = matrix(probabilities, HALF), matrix(embeddings, HALF)
    if said is None or embedded is None:
        raise ValueError("a prediction without probabilities or embedding")
    return Logged(
        models[0],
        b"".join(ids),
        np.array(labels, LABEL),
        np.array(confidences, SINGLE),
        said,
        embedded,
        matrix(properties, SINGLE),
        [text.encode() for text in tags],
        matrix(corrected, HALF),
        None if thumbnails[0] is None else list(thumbnails),
    )
