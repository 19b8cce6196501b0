"""Our binary COPY against psycopg's: the same values make the same rows."""

import itertools
import json

import numpy as np
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

from tests.support.predictions import new_ids
from tidemark.store.binary_copy import COPIED, copy_into, encoded_rows
from tidemark.store.logged import Logged, logged
from tidemark.store.prediction_id import time_of
from tidemark.store.raw_connection import raw

TYPES = ["uuid", "timestamptz", "int4", "int4", "float4", *["bytea"] * 4, "int4", "int8", "jsonb", "bytea"]
FIRST_NUMBERS = itertools.count(2**40, 10)


def batch(with_properties: bool, with_tags: bool, with_corrected: bool, with_thumbnails: bool) -> Logged:
    """Return predictions of a random number of rows and columns, with or without what a prediction may lack."""
    rng = np.random.default_rng([with_properties, with_tags, with_corrected, with_thumbnails])
    m, k, d, p = (int(rng.integers(1, 9)) for _ in range(4))
    return logged(
        "m:1",
        new_ids(m),
        rng.dirichlet(np.ones(k), m),
        rng.normal(0, 1e5, (m, d)),
        rng.normal(size=(m, p)) if with_properties else None,
        [json.dumps({"camera": f"ä{row}"}).encode() for row in range(m)] if with_tags else None,
        rng.dirichlet(np.ones(k), m) if with_corrected else None,
        [rng.bytes(row) for row in range(m)] if with_thumbnails else None,
    )


def objects(predictions: Logged, first_number: int) -> list[tuple[object, ...]]:
    """Return the rows as psycopg takes them, a Python object for each value."""
    matrices = (predictions.probabilities, predictions.embeddings, predictions.properties, predictions.corrected)
    return [
        (
            key,
            time_of(key),
            7,
            int(predictions.labels[row]),
            float(predictions.confidences[row]),
            *(None if matrix is None else matrix[row].tobytes() for matrix in matrices),
            3,
            first_number + row,
            Jsonb({} if predictions.tags is None else json.loads(predictions.tags[row])),
            None if predictions.thumbnails is None else predictions.thumbnails[row],
        )
        for row, key in enumerate(predictions.uuids)
    ]


def test_our_binary_copy_writes_the_rows_that_psycopg_writes(engine: Engine) -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(COPIED.split(", "), TYPES, strict=True))
    batches = [(batch(*choice), next(FIRST_NUMBERS)) for choice in itertools.product((False, True), repeat=4)]
    with engine.connect() as connection:
        connection.execute(text(f"CREATE TEMP TABLE ours ({columns})"))
        connection.execute(text(f"CREATE TEMP TABLE theirs ({columns})"))
        cursor = raw(connection).cursor()
        copy_into("ours", cursor, [encoded_rows(predictions, 7, 3, first) for predictions, first in batches])
        with cursor.copy(f"COPY theirs ({COPIED}) FROM STDIN (FORMAT BINARY)") as writer:
            writer.set_types(TYPES)
            for predictions, first in batches:
                for row in objects(predictions, first):
                    writer.write_row(row)
        ours, theirs = (cursor.execute(f"TABLE {table}").fetchall() for table in ("ours", "theirs"))
    assert ours == theirs
    assert [row[0] for row in ours] == [key for predictions, _ in batches for key in predictions.uuids]
