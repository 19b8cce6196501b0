"""The model at work: a batch of pixels in, class probabilities and embeddings out."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..errors import TidemarkError
from .bundle import BrokenBundle, Bundle, file_sha256

TOLERANCE = 0.01  # of the sum of probabilities, wide enough for float16


class ModelFailed(TidemarkError):
    """The model gave no usable answer."""


class Model:
    """An ONNX Runtime session for a bundle, warmed up.

    Parameters
    ----------
    bundle : what to load.
    threads : of one run of the model; the cores that this process may use unless given.

    Raises
    ------
    BrokenBundle
        The runtime cannot load the file, the file is not the one that the bundle was loaded with, a tensor that
        `model.toml` names is missing, or the answer to a blank image is no row of probabilities.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self._spec = bundle.input
        self._activation = bundle.output.activation
        self._classes = len(bundle.labels)
        self._session, embedding = _session(bundle, threads or cores())
        self._outputs = [bundle.output.probabilities, embedding]
        self._dtype = np.float16 if self._session.get_inputs()[0].type == "tensor(float16)" else np.float32
        shape = (1, 1, 1, -1) if self._spec.layout == "NHWC" else (1, -1, 1, 1)
        std = np.asarray(self._spec.std, np.float32)
        self._gain = (np.float32(self._spec.scale) / std).reshape(shape)
        self._offset = (-np.asarray(self._spec.mean, np.float32) / std).reshape(shape)
        height, width = self._spec.size
        blank = np.zeros((1, height, width, *([3] if self._spec.channels == 3 else [])), np.uint8)
        try:
            probabilities, embeddings = self.predict(blank)
        except ModelFailed as error:
            raise BrokenBundle(f"{bundle.folder}: {error}") from None
        if probabilities.min() < -TOLERANCE or abs(float(probabilities.sum()) - 1) > TOLERANCE:
            raise BrokenBundle(
                f"{bundle.folder}: expected probabilities that add up to 1, found {probabilities.min():.3g} to "
                f"{probabilities.max():.3g}; for logits set output.activation to 'softmax'"
            )
        self.embedding_size: int = embeddings.shape[1]

    def predict(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what `run` does, of pixels (m, H, W) or (m, H, W, 3)."""
        return self.run(self.prepared(pixels))

    def run(self, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities (m, k) and embeddings (m, d) of the network's own input, in its layout.

        Raises
        ------
        ModelFailed
            The model cannot run, its answer holds NaN or infinity, or has not one column a label.
        """
        with np.errstate(over="ignore"):  # float16 has no room for every float32
            given = tensor.astype(self._dtype, copy=False)
        try:
            scores, embeddings = self._session.run(self._outputs, {self._spec.name: given})
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            raise ModelFailed(f"the model cannot run: {_line(error)}") from None
        m = len(tensor)
        probabilities = activated(scores.reshape(m, -1).astype(np.float32, copy=False), self._activation)
        if probabilities.shape[1] != self._classes:
            raise ModelFailed(
                f"the model answers {probabilities.shape[1]} classes, model.toml has {self._classes} labels"
            )
        flat = pooled(embeddings).astype(np.float32, copy=False)
        if not (np.isfinite(probabilities).all() and np.isfinite(flat).all()):
            raise ModelFailed("the model answered NaN or infinity")
        return probabilities, flat

    def prepared(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the network's own input for pixels (m, H, W) or (m, H, W, 3)."""
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        if self._spec.layout == "NCHW":
            pixels = pixels.transpose(0, 3, 1, 2)
        prepared: NDArray[np.float32] = np.multiply(pixels, self._gain, dtype=np.float32, order="C")
        prepared += self._offset
        return prepared

    def pixels(self, tensor: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a tensor in the network's layout as pixels (m, H, W) or (m, H, W, 3).

        Of uint8 these are its values; of float32, what `prepared` makes it of, as near as 8 bits come.
        """
        if tensor.dtype == np.uint8:
            values: NDArray[Any] = tensor
        else:
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                values = np.nan_to_num(np.rint((tensor - self._offset) / self._gain)).clip(0, 255).astype(np.uint8)
        if self._spec.layout == "NCHW":
            values = values.transpose(0, 2, 3, 1)
        return values[..., 0] if self._spec.channels == 1 else values


def activated(scores: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
    """Return probabilities (m, k) of scores (m, k), or of one sigmoid score (m, 1) the two classes'."""
    if activation == "softmax":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        softmax: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
        return softmax
    if activation == "sigmoid":
        scores = 1 / (1 + np.exp(-np.clip(scores, -80, 80, dtype=np.float32)))
    return np.concatenate([1 - scores, scores], axis=1) if scores.shape[1] == 1 else scores


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pooled(embeddings: NDArray[Any]) -> NDArray[Any]:
    """Return embeddings (m, d), averaged over their positions: (m, d, H, W) over both axes, (m, T, d) over tokens."""
    if embeddings.ndim < 3:
        return embeddings.reshape(len(embeddings), -1)
    axes = (1,) if embeddings.ndim == 3 else tuple(range(2, embeddings.ndim))
    means: NDArray[np.float32] = embeddings.mean(axis=axes, dtype=np.float32)
    return means


def _session(bundle: Bundle, threads: int) -> tuple[onnxruntime.InferenceSession, str]:
    """Load the model; return it with the name of its embedding, made an output where it is none yet."""
    found = file_sha256(bundle.model_path)
    if found != bundle.sha256:
        raise BrokenBundle(f"{bundle.model_path} has changed since the bundle was loaded: load it again")
    session = _load(bundle, threads, bundle.model_path)
    outputs = [output.name for output in session.get_outputs()]
    if bundle.output.probabilities not in outputs:
        raise BrokenBundle(
            f"{bundle.model_path}: no output {bundle.output.probabilities!r}, found {', '.join(outputs)}"
        )
    inputs = [value.name for value in session.get_inputs()]
    if inputs != [bundle.input.name]:
        raise BrokenBundle(f"{bundle.model_path}: expected one input {bundle.input.name!r}, found {', '.join(inputs)}")
    embedding = bundle.output.embedding
    if embedding is None or embedding not in outputs:
        embedding, model = _with_embedding(bundle)
        session = _load(bundle, threads, model)
    return session, embedding


def _with_embedding(bundle: Bundle) -> tuple[str, bytes]:
    import onnx

    from . import onnx_inspect as anatomy

    proto = onnx.load(bundle.model_path)
    try:
        embedding = bundle.output.embedding or anatomy.embedding_tensor(proto, bundle.output.probabilities)
        anatomy.expose(proto, embedding)
    except BrokenBundle as error:
        raise BrokenBundle(f"{bundle.model_path}: {error}") from None
    return embedding, proto.SerializeToString()


def _load(bundle: Bundle, threads: int, model: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the event loop needs the cores too
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise BrokenBundle(
            f"{bundle.model_path}: ONNX Runtime {onnxruntime.__version__} cannot load it: {_line(error)}"
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
