"""The model at work: a batch of pixels in, class probabilities and embeddings out."""

import os

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.errors import TidemarkError
from service.inference.bundle import BrokenBundle, Bundle


class ModelFailed(TidemarkError):
    """The model gave no usable answer."""


class Model:
    """An ONNX Runtime session for a bundle.

    Parameters
    ----------
    bundle : what to load.
    threads : of one run of the model; the cores that this process may use unless given.

    Raises
    ------
    BrokenBundle
        The runtime cannot load the file, or a tensor that `model.toml` names is missing.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self._spec = bundle.input
        self._activation = bundle.output.activation
        self._classes = len(bundle.labels)
        self._session = _session(bundle, threads or len(os.sched_getaffinity(0)))
        outputs = [output.name for output in self._session.get_outputs()]
        wanted = [bundle.output.probabilities, bundle.output.embedding]
        for name in wanted:
            if name not in outputs:
                raise BrokenBundle(f"{bundle.model_path}: no output {name!r}, found {', '.join(outputs)}")
        if self._session.get_inputs()[0].name != bundle.input.name:
            found = self._session.get_inputs()[0].name
            raise BrokenBundle(f"{bundle.model_path}: no input {bundle.input.name!r}, found {found!r}")
        self._outputs = wanted
        shape = (1, 1, 1, -1) if self._spec.layout == "NHWC" else (1, -1, 1, 1)
        std = np.asarray(self._spec.std, np.float32)
        self._gain = (np.float32(self._spec.scale) / std).reshape(shape)
        self._offset = (-np.asarray(self._spec.mean, np.float32) / std).reshape(shape)
        height, width = self._spec.size
        blank = np.zeros((1, height, width, *([3] if self._spec.channels == 3 else [])), np.uint8)
        self.embedding_size: int = self.predict(blank)[1].shape[1]

    def predict(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities (m, k) and embeddings (m, d) of pixels (m, H, W) or (m, H, W, 3).

        Raises
        ------
        ModelFailed
            The answer holds NaN or infinity, or has not one column a label.
        """
        scores, embeddings = self._session.run(self._outputs, {self._spec.name: self._prepared(pixels)})
        m = len(pixels)
        probabilities = activated(scores.reshape(m, -1).astype(np.float32, copy=False), self._activation)
        if probabilities.shape[1] != self._classes:
            raise ModelFailed(
                f"the model answers {probabilities.shape[1]} classes, model.toml has {self._classes} labels"
            )
        flat = embeddings.reshape(m, -1).astype(np.float32, copy=False)
        if not (np.isfinite(probabilities).all() and np.isfinite(flat).all()):
            raise ModelFailed("the model answered NaN or infinity")
        return probabilities, flat

    def _prepared(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        if self._spec.layout == "NCHW":
            pixels = pixels.transpose(0, 3, 1, 2)
        prepared: NDArray[np.float32] = np.multiply(pixels, self._gain, dtype=np.float32, order="C")
        prepared += self._offset
        return prepared


def activated(scores: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
    """Return probabilities (m, k) of scores (m, k), or of one sigmoid score (m, 1) the two classes'."""
    if activation == "softmax":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        softmax: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
        return softmax
    if activation == "sigmoid":
        scores = 1 / (1 + np.exp(-np.clip(scores, -80, 80, dtype=np.float32)))
    return np.concatenate([1 - scores, scores], axis=1) if scores.shape[1] == 1 else scores


def _session(bundle: Bundle, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(bundle.model_path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        reason = str(error).strip().splitlines()[0]
        raise BrokenBundle(
            f"{bundle.model_path}: ONNX Runtime {onnxruntime.__version__} cannot load it: {reason}"
        ) from None
