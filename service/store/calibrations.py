"""Traffic that was declared calm, and what a stream's detector learnt from it."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import ArrayLike, NDArray
from sqlalchemy import Connection, insert, select

from .arrays import pack, unpack
from .tables import calibrations


class Calm(NamedTuple):
    """A calibration: arrays of the calm traffic in its own order, and the detector's calibration on it."""

    traffic: dict[str, NDArray[Any]]
    calibration: dict[str, NDArray[Any]]


def save(
    connection: Connection,
    stream_id: int,
    reference_id: int,
    span: tuple[dt.datetime, dt.datetime],
    design_effect: float,
    calm: Mapping[str, ArrayLike | None],
    calibration: Mapping[str, ArrayLike],
) -> None:
    """Store a calibration; the monitor starts the stream's detector again on it."""
    connection.execute(
        insert(calibrations).values(
            stream_id=stream_id,
            reference_id=reference_id,
            since=span[0],
            until=span[1],
            rows=len(calm["embeddings"]),  # type: ignore[arg-type]
            design_effect=design_effect,
            calm=pack(calm),
            calibration=pack(calibration),
        )
    )


def newest(connection: Connection, stream_id: int, reference_id: int) -> int | None:
    """Return the id of a stream's newest calibration against its reference, or None."""
    c = calibrations.c
    query = select(c.id).where(c.stream_id == stream_id, c.reference_id == reference_id)
    return connection.execute(query.order_by(c.id.desc()).limit(1)).scalar_one_or_none()


def load(connection: Connection, calibration_id: int) -> Calm:
    """Return a calibration."""
    c = calibrations.c
    row = connection.execute(select(c.calm, c.calibration).where(c.id == calibration_id)).one()
    return Calm(unpack(row.calm), unpack(row.calibration))


def has_context(connection: Connection, calibration_id: int) -> bool:
    """Check whether a calibration holds what is normal in each context."""
    query = select(calibrations.c.calibration).where(calibrations.c.id == calibration_id)
    return "context_location" in unpack(connection.execute(query).scalar_one())
