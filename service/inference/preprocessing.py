"""Between pixels and the network's own input: channel order, layout, scale, mean and deviation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import InputSpec

Floats = NDArray[np.float32] | NDArray[np.float64]


class Preprocessor:
    """Converts pixels to the network's input as `model.toml` states, and back.

    Parameters
    ----------
    dtype : type
        Number type of the network: float64 is prepared in float64, all others in float32.
    """

    def __init__(self, spec: InputSpec, dtype: type[np.generic] = np.float32) -> None:
        self._spec = spec
        self._dtype: type[Any] = np.float64 if dtype is np.float64 else np.float32
        self._row_shape = spec.row_shape
        self._channels_first = spec.layout in ("NCHW", "CHW", "NP")
        shape = (1, -1, 1, 1) if self._channels_first else (1, 1, 1, -1)
        std = np.asarray(spec.std, np.float64)
        # A quotient is rounded as that of `pixels / 255`: a tree compares it with a threshold that may be equal to it.
        self._divisor: NDArray[Any] = (std / spec.scale).astype(self._dtype).reshape(shape)
        self._offset: NDArray[Any] = (-np.asarray(spec.mean, np.float64) / std).astype(self._dtype).reshape(shape)

    @property
    def is_identity(self) -> bool:
        """True if scale, mean and std leave pixels as they are."""
        return bool((self._divisor == 1).all() and (self._offset == 0).all())

    def prepared(self, pixels: NDArray[np.uint8]) -> Floats:
        """Return the network's own input, with a batch axis, for pixels (m, H, W) or (m, H, W, 3)."""
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        if self._spec.mode == "BGR":
            pixels = pixels[..., ::-1]
        if self._channels_first:
            pixels = pixels.transpose(0, 3, 1, 2)
        prepared: Floats = np.divide(pixels, self._divisor, dtype=self._dtype, order="C")
        prepared += self._offset
        return prepared.reshape(len(pixels), *self._row_shape)

    def pixels(self, tensor: Floats | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a tensor in the network's layout as pixels (m, H, W) or (m, H, W, 3).

        Of uint8 these are its values; of floats, those from which `prepared` makes it, as near as 8 bits come.
        """
        spec = self._spec
        sides = (spec.channels, *spec.size) if self._channels_first else (*spec.size, spec.channels)
        values: NDArray[Any] = tensor.reshape(len(tensor), *sides)
        if tensor.dtype != np.uint8:
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                values = np.nan_to_num(np.rint((values - self._offset) * self._divisor)).clip(0, 255).astype(np.uint8)
        if self._channels_first:
            values = values.transpose(0, 2, 3, 1)
        if spec.mode == "BGR":
            values = values[..., ::-1]
        return values[..., 0] if spec.channels == 1 else values


def as_input(tensor: Floats, dtype: Any) -> NDArray[Any]:
    """Return a tensor in the number type of the network; integers are rounded and kept in their range."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.rint(tensor).clip(limits.min, limits.max).astype(dtype)
    with np.errstate(over="ignore"):  # float16 has no room for every float32
        return tensor.astype(dtype, copy=False)
