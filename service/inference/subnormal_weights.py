"""Weights too small for the quick arithmetic of processors, which are read as zero.

Weight decay shrinks the weights of pixels and channels that are always dark, until they are subnormal: below 1.2e-38.
A product with one of them takes a processor a hundred cycles or more instead of one, and changes no result.

References
----------
IEEE 754-2019, section 2.1, "subnormal number".
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.external_data_helper import uses_external_data

from .identity import tensors

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)  # types whose subnormal numbers are slow: float16 is widened first
MAX_MOVED_BYTES = 200_000_000  # bytes of weights that move into the graph, where they are in memory twice at the start


def clear_subnormals(proto: ModelProto, folder: Path) -> bool:
    """Set the subnormal constants of a graph to zero, and return whether there were any.

    A tensor with external data that has some is moved into the graph, up to `MAX_MOVED_BYTES` of all.

    Parameters
    ----------
    proto : ModelProto
        A model as its file holds it; it is changed.
    folder : Path
        The folder of its external data, if it has any.
    """
    moved_bytes, is_changed = 0, False
    for tensor in tensors(proto):
        if tensor.data_type not in FLOATS:
            continue
        is_external = uses_external_data(tensor)
        values = numpy_helper.to_array(_copy(tensor) if is_external else tensor, str(folder))
        subnormal = _subnormal(values)
        if not subnormal.any():
            continue
        if is_external:
            moved_bytes += values.nbytes
            if moved_bytes > MAX_MOVED_BYTES:
                break
        tensor.CopyFrom(numpy_helper.from_array(np.where(subnormal, values.dtype.type(0), values), tensor.name))
        is_changed = True
    return is_changed


def _copy(tensor: TensorProto) -> TensorProto:
    """Return a copy of a tensor, for `to_array` reads external data into the tensor that it is given."""
    copy = TensorProto()
    copy.CopyFrom(tensor)
    return copy


def _subnormal(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which values are subnormal numbers, and not zero."""
    is_small: NDArray[np.bool_] = (np.abs(values) < np.finfo(values.dtype).smallest_normal) & (values != 0)
    return is_small
