"""Ids of predictions: UUIDs of version 7, so that an id holds the time of its prediction."""

import datetime as dt
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

ID_BYTES = 16
TIME_BYTES = 6  # bytes at the beginning of a UUIDv7 that hold its time in milliseconds of the Unix epoch
LATEST = 253_402_300_799_000  # milliseconds of the epoch: the end of the year 9999, which Python's times end with


def time_of(prediction_id: UUID) -> dt.datetime:
    """Return the moment inside a UUIDv7 (RFC 9562), to the millisecond; of any other id, some moment."""
    return dt.datetime.fromtimestamp(min(prediction_id.int >> 80, LATEST) / 1000, tz=dt.UTC)


def times_of(ids: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the moments inside UUIDv7s (m, 16) in microseconds of the Unix epoch, to the millisecond."""
    return np.asarray(ids[:, :6].astype(np.int64) @ (256 ** np.arange(5, -1, -1)) * 1000)


def time_span(ids: bytes) -> tuple[int, int]:
    """Return the earliest and the latest moment inside UUIDv7s that stand one after the other, in milliseconds of the
    Unix epoch."""
    times = [ids[at : at + TIME_BYTES] for at in range(0, len(ids), ID_BYTES)]
    return min(int.from_bytes(min(times), "big"), LATEST), min(int.from_bytes(max(times), "big"), LATEST)


def id_at(milliseconds: int, noise: bytes) -> UUID:
    """Return the UUIDv7 of a moment of the Unix epoch whose other 74 bits are those of 10 bytes."""
    bits = int.from_bytes(noise[:10], "big")
    high, low = bits >> 68, bits & (1 << 62) - 1  # 12 and 62 bits
    return UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)


def uuids(ids: bytes) -> list[UUID]:
    """Return ids that stand one after the other."""
    return [UUID(bytes=ids[at : at + ID_BYTES]) for at in range(0, len(ids), ID_BYTES)]
