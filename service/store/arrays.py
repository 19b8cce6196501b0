"""Arrays in a database cell: npz, never pickle."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pack(arrays: Mapping[str, ArrayLike | None]) -> bytes:
    """Return named arrays and scalars as the bytes of an npz file; None is left out.

    Raises
    ------
    ValueError
        An array holds objects instead of numbers.
    """
    buffer = io.BytesIO()
    present: dict[str, NDArray[Any]] = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
    np.savez(buffer, allow_pickle=False, **present)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays that `pack` was given.

    Raises
    ------
    ValueError
        The bytes are no npz, or hold objects instead of numbers.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
