"""Stored references: what each model looks like on held-out training data."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select, update

from .arrays import pack, unpack
from .tables import references, streams


def save(
    connection: Connection,
    model_id: int,
    arrays: Mapping[str, NDArray[Any]],
    thumbnails: Mapping[int, bytes] | None = None,
) -> int:
    """Store a reference and put the model's streams on it from their next prediction; return its id.

    The streams' detector and cursors start anew: evidence against the old reference says nothing of the new one.

    Parameters
    ----------
    thumbnails : encoded images by the row that they show.
    """
    rows = len(arrays["embeddings"])
    pictures = _pack_thumbnails(thumbnails) if thumbnails else None
    statement = insert(references).values(model_id=model_id, rows=rows, arrays=pack(arrays), thumbnails=pictures)
    reference_id = int(connection.execute(statement.returning(references.c.id)).scalar_one())
    connection.execute(
        update(streams)
        .where(streams.c.model_id == model_id)
        .values(reference_id=reference_id, detector=None, concept=None, calm_windows=0)
    )
    return reference_id


def load(connection: Connection, reference_id: int) -> dict[str, NDArray[Any]]:
    """Return a reference's arrays: embeddings, probabilities, and where known labels and properties."""
    return unpack(connection.execute(select(references.c.arrays).where(references.c.id == reference_id)).scalar_one())


def load_thumbnails(connection: Connection, reference_id: int) -> dict[int, bytes]:
    """Return the encoded images that were kept of a reference, by row; none where there are none, or no reference."""
    query = select(references.c.thumbnails).where(references.c.id == reference_id)
    packed = connection.execute(query).scalar_one_or_none()
    if packed is None:
        return {}
    arrays = unpack(packed)
    data, ends = arrays["data"].tobytes(), np.cumsum(arrays["sizes"]).tolist()
    return {row: data[start:end] for row, start, end in zip(arrays["rows"].tolist(), [0, *ends], ends, strict=False)}


def load_calibration(connection: Connection, reference_id: int) -> dict[str, NDArray[Any]] | None:
    """Return the cached calibration of the sequential detector, or None."""
    query = select(references.c.calibration).where(references.c.id == reference_id)
    data = connection.execute(query).scalar_one()
    return unpack(data) if data else None


def save_calibration(connection: Connection, reference_id: int, calibration: Mapping[str, Any]) -> None:
    """Cache the sequential detector's calibration beside its reference."""
    statement = update(references).where(references.c.id == reference_id)
    connection.execute(statement.values(calibration=pack(calibration)))


def newest(connection: Connection, model_id: int) -> int | None:
    """Return the id of a model's newest reference, or None."""
    query = select(references.c.id).where(references.c.model_id == model_id).order_by(references.c.id.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none()


def _pack_thumbnails(thumbnails: Mapping[int, bytes]) -> bytes:
    return pack(
        {
            "rows": np.array(list(thumbnails), dtype=np.int64),
            "sizes": np.array([len(image) for image in thumbnails.values()], dtype=np.int64),
            "data": np.frombuffer(b"".join(thumbnails.values()), dtype=np.uint8),
        }
    )
