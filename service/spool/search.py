"""Searches the spools of a folder for predictions that are acknowledged and not yet in Postgres."""

import sqlite3
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np

from ..store.logged import LABEL
from ..store.prediction_id import ID_BYTES, uuids
from .file import SUFFIX, open_to_read
from .ring import pending_batches

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
        with suppress(OSError, sqlite3.Error):  # its worker has just removed it, or the forwarder tells why not
            for batch in pending_batches(path, times):  # first, for batches move from here to the SQLite file
                model, keys, labels, _, probabilities, *_ = batch.columns
                places = _places(keys, batch.predictions, requested_ids)
                predictions |= _predictions(places, batch.predictions, model, labels, probabilities)
            with closing(open_to_read(path)) as connection:
                _find_in_file(connection, requested_ids, times, predictions)
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
        places = _places(keys, count, requested_ids)
        if places and (row := connection.execute(ROW, (seq,)).fetchone()) is not None:
            predictions |= _predictions(places, count, *row)


def _places(keys: bytes, count: int, requested_ids: set[UUID]) -> dict[UUID, int]:
    """Return which of a batch's ids are requested, and where they are in it."""
    return {key: place for place, key in enumerate(uuids(keys[: count * ID_BYTES])) if key in requested_ids}


def _predictions(
    places: dict[UUID, int], count: int, model: str, labels: bytes, probabilities: bytes
) -> dict[UUID, SpooledPrediction]:
    width = len(probabilities) // count
    classes = np.frombuffer(labels, LABEL)
    return {
        key: SpooledPrediction(model, int(classes[place]), probabilities[place * width : (place + 1) * width])
        for key, place in places.items()
    }
