"""Numbers out of lists of JSON: their types are checked before numpy sees them, and converted part by part."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

PART = 65_536  # values that are checked and converted at a time: between two parts, other threads run
FLOAT_TYPES = frozenset({int, float})
INT_TYPES = frozenset({int})


def numbers(data: list[Any], shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Return the numbers of a list, nested as `shape` or flat, as an array of that shape.

    A list of texts would become an array of the longest text times their number: types are checked first.

    Parameters
    ----------
    dtype : DTypeLike
        Of integers: every value must be an integer that it can hold.

    Raises
    ------
    ValueError
        The values are not numbers of that type, or do not have that shape.
    """
    kind = np.dtype(dtype)
    types = INT_TYPES if kind.kind in "iu" else FLOAT_TYPES
    size = math.prod(shape)
    rows = [data] if _is_flat(data) else _innermost(data, shape)
    if sum(map(len, rows)) != size:
        raise ValueError(f"data has {sum(map(len, rows))} values, expected {size} of shape {list(shape)}")
    values = np.empty(size, np.int64 if kind.kind in "iu" else np.float64)
    start = 0
    for row in rows:
        for first in range(0, len(row), PART):
            part = row[first : first + PART]
            if not types.issuperset(map(type, part)):
                raise ValueError("data holds values that are not numbers of the tensor's datatype")
            try:
                values[start : start + len(part)] = part
            except OverflowError:
                raise ValueError("data holds a number that is too large") from None
            start += len(part)
    if kind.kind in "iu" and size and not np.iinfo(kind).min <= values.min() <= values.max() <= np.iinfo(kind).max:
        raise ValueError(f"data holds values outside of {np.iinfo(kind).min} to {np.iinfo(kind).max}")
    with np.errstate(over="ignore"):
        return values.astype(kind).reshape(shape)


def _is_flat(data: list[Any]) -> bool:
    return not (data and isinstance(data[0], list))


def _innermost(data: list[Any], shape: Sequence[int]) -> list[list[Any]]:
    """Return the innermost lists of data that is nested as `shape`."""
    lists: list[Any] = [data]
    for depth, side in enumerate(shape):
        if any(type(item) is not list or len(item) != side for item in lists):
            raise ValueError(f"data is not nested as the shape {list(shape)}, see its axis {depth}")
        if depth < len(shape) - 1:
            lists = [item for inner in lists for item in inner]
    return lists
