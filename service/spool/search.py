"""Searches the spools of a folder for predictions that are acknowledged and not yet in Postgres."""

import sqlite3
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np

from ..store.logged import LABEL
from ..store.prediction_id import ID_BYTES, uuids
from .file import SUFFIX, open_to_read

TIMES = "SELECT seq, at_from, at_to FROM batches"
IDS = "SELECT count, ids FROM batches WHERE seq = ?"
ROW = "SELECT model, labels, probabilities FROM batches WHERE seq = ?"


class SpooledPrediction(NamedTuple):
    """A prediction in a spool."""

    model: str  # name:version
    label: int  # the predicted class
    probabilities: bytes  # float16 (k,)


def find(folder: Path, ids: Sequence[UUID]) -> dict[UUID, SpooledPrediction]:
    """Return those of `ids` that are still in a spool of this folder, whichever worker holds it.

    The time inside an id rules nearly all batches out before their ids are read.
    """
    predictions: dict[UUID, SpooledPrediction] = {}
    if not ids:
        return predictions
    requested_ids = set(ids)
    times = sorted(key.int >> 80 for key in requested_ids)
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            with closing(open_to_read(path)) as connection:
                _find_in_file(connection, requested_ids, times, predictions)
        except sqlite3.Error:  # its worker has just closed and removed it, or it cannot be read: the forwarder tells
            continue
    return predictions


def _find_in_file(
    connection: sqlite3.Connection,
    requested_ids: set[UUID],
    times: list[int],
    predictions: dict[UUID, SpooledPrediction],
) -> None:
    for seq, at_from, at_to in connection.execute(TIMES).fetchall():
        if at_from is not None:
            nearest = bisect_left(times, at_from)
            if nearest == len(times) or times[nearest] > at_to:
                continue
        row = connection.execute(IDS, (seq,)).fetchone()
        if row is None:  # forwarded meanwhile
            continue
        count, keys = row
        places = {key: place for place, key in enumerate(uuids(keys[: count * ID_BYTES])) if key in requested_ids}
        if places and (row := connection.execute(ROW, (seq,)).fetchone()) is not None:
            model, labels, probabilities = row
            width = len(probabilities) // count
            classes = np.frombuffer(labels, LABEL)
            for key, place in places.items():
                part = probabilities[place * width : (place + 1) * width]
                predictions[key] = SpooledPrediction(model, int(classes[place]), part)
