"""Tensors of the datatype BYTES in binary form: each element is its length, a little-endian uint32, and its bytes."""

from collections.abc import Iterable

from ..problems import Problem

LENGTH_BYTES = 4  # bytes of the length before an element


def join_byte_strings(items: Iterable[bytes]) -> bytes:
    """Return the binary form of a tensor's elements."""
    return b"".join(len(item).to_bytes(LENGTH_BYTES, "little") + item for item in items)


def split_byte_strings(data: bytes | memoryview, count: int) -> list[bytes]:
    """Return the `count` elements of a tensor from their binary form.

    Raises
    ------
    Problem
        400: there are more or fewer elements, or the last one is cut off.
    """
    items: list[bytes] = []
    start = 0
    while start < len(data) and len(items) < count:
        first = start + LENGTH_BYTES
        end = first + int.from_bytes(data[start:first], "little")
        if end > len(data):
            break
        items.append(bytes(data[first:end]))
        start = end
    if len(items) != count or start != len(data):
        raise Problem(
            400,
            f"expected {count} elements, each behind its length, in {len(data)} bytes; "
            f"{len(items)} of them take {start} bytes",
        )
    return items
