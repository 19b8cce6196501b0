"""Runs the model of a bundle: a batch of pixels in, class probabilities and embeddings out."""

import logging
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.checker import ValidationError

from . import onnx_inspect
from .bundle import BrokenBundle, Bundle, InputSpec, files_sha256
from .cpu_quota import cores
from .dequantisation import dequantised
from .fixed_projection import project
from .network import Network
from .preprocessing import Floats
from .probabilities import ModelFailed, activate, distributions
from .providers import CPU, execution_providers
from .runtime import one_line, open_session
from .subnormal_weights import clear_subnormals
from .thread_clock import working_time

__all__ = ["Model", "ModelFailed", "activate", "cores", "pooled"]

PROVIDER_TOLERANCE = 0.02  # difference of probabilities from the CPU's that reduced precision on a device explains
BRIEF_SECONDS = 0.0001  # working seconds of a run on three images up to which it has one thread
TIMED_RUNS = 5  # runs of which the quickest counts

logger = logging.getLogger(__name__)


class Model:
    """An ONNX Runtime session for a bundle, warmed up.

    Parameters
    ----------
    bundle : Bundle
        What to load.
    threads : int or None
        Threads of one run of the model; by default one for a brief network, else the cores that this process may use.
    providers : sequence of str or None
        Short names of execution providers in order of preference; by default the best that is installed.

    Raises
    ------
    BrokenBundle
        The runtime cannot load the file, the file is not the one that the bundle was loaded with, a tensor that
        `model.toml` names is missing, the answer to a test image is not a row of probabilities, or a provider that was
        asked for answers otherwise than the CPU.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, providers: Sequence[str] | None = None) -> None:
        self._activation = bundle.output.activation
        self._features_last = bundle.output.embedding_layout == "NHWC"
        self._classes = len(bundle.labels)
        names = execution_providers(providers)
        try:
            self._open(bundle, threads, names, required=bool(providers))
        except BrokenBundle as error:
            if providers or names == [CPU]:
                raise
            logger.warning("%s cannot run this model, the CPU is used: %s", names[0], error)
            self._open(bundle, threads, [CPU], required=True)

    def _open(self, bundle: Bundle, threads: int | None, names: Sequence[str], required: bool) -> None:
        """Open and warm up the network, one thread for a brief one; compare a provider's answers with the CPU's."""
        self._network, self._outputs = _network(bundle, threads or cores(), names)
        self.embedding_size = self._warm_up(bundle)
        if threads is None and self.providers[0] == CPU and self._is_brief(bundle):
            self._network, self._outputs = _network(bundle, 1, names)
        if self.providers[0] != CPU:
            self._compare_with_cpu(bundle, threads or cores(), required)

    @property
    def providers(self) -> list[str]:
        """The execution providers at work, by ONNX Runtime's names, in order of preference."""
        return list(self._network.session.get_providers())

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """The number type of tensors that reach the network as they are, see `Network`."""
        return self._network.tensor_dtype

    def with_input(self, spec: InputSpec) -> "Model":
        """Return the same session with its input prepared in another way."""
        other = copy(self)
        other._network = Network(self._network.session, spec)
        return other

    def predict(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what `run` does, of pixels (m, H, W) or (m, H, W, 3)."""
        return self.run(self.prepared(pixels))

    def run(self, tensor: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities (m, k) and embeddings (m, d), d at most 2,048, of the network's input in its layout.

        Raises
        ------
        ModelFailed
            The model cannot run, or an answer is not finite, not a distribution, or has not one column a label.
        """
        scores, embeddings = self._network.run(tensor, self._outputs)
        m = len(tensor)
        rows = scores.reshape(m, -1).astype(np.float32, copy=False)
        probabilities = activate(rows, self._activation)
        if probabilities.shape[1] != self._classes:
            hint = "; for one logit set output.activation to 'sigmoid'" if rows.shape[1] == 1 else ""
            raise ModelFailed(
                f"the model answers {probabilities.shape[1]} classes, model.toml has {self._classes} labels{hint}"
            )
        flat = project(pooled(embeddings, self._features_last).astype(np.float32, copy=False))
        if not (np.isfinite(probabilities).all() and np.isfinite(flat).all()):
            raise ModelFailed("the model answered NaN or infinity")
        return probabilities if self._activation == "softmax" else distributions(probabilities), flat

    def prepared(self, pixels: NDArray[np.uint8]) -> Floats:
        """Return the network's own input for pixels (m, H, W) or (m, H, W, 3)."""
        return self._network.preprocessor.prepared(pixels)

    def pixels(self, tensor: Floats | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a tensor in the network's layout as pixels (m, H, W) or (m, H, W, 3), as near as 8 bits come."""
        return self._network.preprocessor.pixels(tensor)

    def _warm_up(self, bundle: Bundle) -> int:
        """Run test images alone and as a batch, and return the embedding's size."""
        try:
            for count in (1, 3):
                _, embeddings = self.predict(_test_images(bundle.input)[:count])
        except ModelFailed as error:
            raise BrokenBundle(f"{bundle.folder}: {error}") from None
        return int(embeddings.shape[1])

    def _is_brief(self, bundle: Bundle) -> bool:
        """Return whether waking a second thread costs as much as it saves, or more where other processes have its core.

        The quickest of some runs counts, for other work on the machine only makes them longer.
        """
        tensor = self.prepared(_test_images(bundle.input))
        seconds = []
        for _ in range(TIMED_RUNS):
            started = working_time()
            self._network.run(tensor, self._outputs)
            seconds.append(working_time() - started)
        return min(seconds) <= BRIEF_SECONDS

    def _compare_with_cpu(self, bundle: Bundle, threads: int, required: bool) -> None:
        """Compare the provider's answers with the CPU's; if they differ use the CPU, or raise if it is required."""
        images = _test_images(bundle.input)
        answered, device, name = self.predict(images)[0], self._network, self.providers[0]
        self._network, self._outputs = _network(bundle, threads, [CPU])
        difference = float(np.abs(answered - self.predict(images)[0]).max())
        if difference <= PROVIDER_TOLERANCE:
            self._network = device
            return
        problem = f"{bundle.folder}: {name} answers probabilities that differ from the CPU's by {difference:.2g}"
        if required:
            raise BrokenBundle(f"{problem}; take it out of TIDEMARK_PROVIDERS")
        logger.warning("%s: the CPU is used", problem)


def pooled(embeddings: NDArray[Any], features_last: bool = False) -> NDArray[Any]:
    """Return embeddings (m, d), averaged over their positions: (m, d, H, W) over both axes, (m, T, d) over tokens.

    Parameters
    ----------
    features_last : bool
        Whether maps have their features in the last axis: (m, H, W, d).
    """
    if embeddings.ndim < 3:
        return embeddings.reshape(len(embeddings), -1)
    channels_last = features_last or embeddings.ndim == 3
    axes = tuple(range(1, embeddings.ndim - 1)) if channels_last else tuple(range(2, embeddings.ndim))
    means: NDArray[np.float32] = embeddings.mean(axis=axes, dtype=np.float32)
    return means


def _test_images(spec: InputSpec) -> NDArray[np.uint8]:
    """Return three rather dark images; none is of one colour, which some networks cannot normalise."""
    noise = np.random.default_rng(0).random((3, *spec.size, *([3] if spec.channels == 3 else [])))
    brightness = np.array([0.1, 0.2, 0.4]).reshape(3, *[1] * (noise.ndim - 1))
    images: NDArray[np.uint8] = (255 * noise * brightness).astype(np.uint8)
    return images


def _network(bundle: Bundle, threads: int, providers: Sequence[str]) -> tuple[Network, list[str]]:
    """Open the model with its scores and its embedding as outputs; return it with the names of these two."""
    if files_sha256(bundle.model_path) != bundle.files_sha256:
        raise BrokenBundle(f"{bundle.model_path} has changed since the bundle was loaded: load it again")
    try:
        proto, is_changed = _quick_graph(bundle)
        model = proto.SerializeToString() if is_changed else bundle.model_path
        session = open_session(model, bundle.folder, threads, providers)
        outputs = {output.name: output.type for output in session.get_outputs()}
        names = [bundle.output.probabilities, bundle.output.embedding]
        if any(not outputs.get(name or "", "").startswith("tensor") for name in names):
            del session  # two sessions hold the weights twice
            names = _expose_outputs(proto, bundle)
            session = open_session(proto.SerializeToString(), bundle.folder, threads, providers)
    except BrokenBundle as error:
        raise BrokenBundle(f"{bundle.model_path}: {error}") from None
    inputs = [value.name for value in session.get_inputs()]
    if inputs != [bundle.input.name]:
        raise BrokenBundle(f"{bundle.model_path}: expected one input {bundle.input.name!r}, found {', '.join(inputs)}")
    return Network(session, bundle.input), [name for name in names if name is not None]


def _quick_graph(bundle: Bundle) -> tuple[ModelProto, bool]:
    """Return the graph without subnormal weights, and whether that differs from the file."""
    try:
        proto = onnx.load(bundle.model_path, load_external_data=False)
        return proto, clear_subnormals(proto, bundle.folder)
    except (DecodeError, ValueError, ValidationError, OSError) as error:
        raise BrokenBundle(f"cannot load it: {one_line(error)}") from None


def _expose_outputs(proto: ModelProto, bundle: Bundle) -> list[str | None]:
    """Make the scores and the embedding outputs of the graph, and return their names."""
    scores = dequantised(proto, onnx_inspect.score_tensor(proto, bundle.output.probabilities))
    embedding = dequantised(proto, bundle.output.embedding or onnx_inspect.embedding_tensor(proto, scores))
    for tensor in (scores, embedding):
        onnx_inspect.expose(proto, tensor)
    return [scores, embedding]
