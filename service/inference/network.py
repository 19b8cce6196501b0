"""Runs a network on images whatever batch sizes its graph takes: all at once, in runs of its own size, or singly."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .bundle import InputSpec
from .preprocessing import Floats, Preprocessor, as_input
from .probabilities import ModelFailed
from .runtime import one_line

DTYPES: dict[str, type[np.generic]] = {  # NumPy's type for each of ONNX Runtime's input types
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
WHITE = 255  # the largest pixel


class Network:
    """A session, fed with pixels or with tensors in the layout of `spec`."""

    def __init__(self, session: onnxruntime.InferenceSession, spec: InputSpec) -> None:
        self.session = session
        self.spec = spec
        self._dtype = DTYPES.get(session.get_inputs()[0].type, np.float32)
        self.preprocessor = Preprocessor(spec, self._dtype)
        declared = (session.get_inputs()[0].shape or [None])[0] if spec.is_batched else 1
        self.bound = spec.batch or (declared if isinstance(declared, int) and declared > 0 else None)

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """The number type of tensors that reach the network as they are: its own, if integers, which are pixels, do.

        Integers other than pixels, such as pixels less 128, are rounded from a tensor of float32.
        """
        dtype = np.dtype(self._dtype)
        if dtype.kind == "f" or (np.iinfo(dtype).max >= WHITE and self.preprocessor.is_identity):
            return dtype
        return np.dtype(np.float32)

    def predict(self, pixels: NDArray[np.uint8], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Return what `run` does, of pixels (m, H, W) or (m, H, W, 3)."""
        return self.run(self.preprocessor.prepared(pixels), outputs)

    def run(self, tensor: Floats, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Return outputs, a row an image, of the network's input in its layout, with a batch axis.

        A batch that is too small for the graph is filled up with its last image, whose further answers are dropped.

        Raises
        ------
        ModelFailed
            The network cannot run, or has not one row an image in an output.
        """
        images = tensor if tensor.dtype == self._dtype else as_input(tensor, self._dtype)
        size = self.bound
        if size is None:
            return self._check_answers(self._run(images, outputs), len(images), outputs)
        runs = []
        for first in range(0, len(images), size):
            rows = images[first : first + size]
            missing = size - len(rows)
            if missing:
                rows = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])
            answers = self._run(rows if self.spec.is_batched else rows[0], outputs)
            if size == 1:
                answers = [self._as_row(answer) for answer in answers]
            runs.append([answer[: size - missing] for answer in self._check_answers(answers, size, outputs)])
        return runs[0] if len(runs) == 1 else [np.concatenate(parts) for parts in zip(*runs, strict=True)]

    def run_once(self, pixels: NDArray[np.uint8], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Return outputs of any shape of one run, on copies of one image (H, W) or (H, W, 3)."""
        row = as_input(self.preprocessor.prepared(pixels[None]), self._dtype)
        images = np.repeat(row, self.bound or 1, axis=0)
        return self._run(images if self.spec.is_batched else images[0], outputs)

    def _as_row(self, answer: NDArray[Any]) -> NDArray[Any]:
        """Return the answer to one image with a batch axis, which the graph may have left out."""
        return answer if self.spec.is_batched and answer.ndim > 1 and len(answer) == 1 else answer[None]

    def _run(self, images: NDArray[Any], outputs: Sequence[str]) -> list[NDArray[Any]]:
        try:
            return [np.asarray(answer) for answer in self.session.run(outputs, {self.spec.name: images})]
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            raise ModelFailed(f"the model cannot run on images of {self.spec.size}: {one_line(error)}") from None

    @staticmethod
    def _check_answers(answers: list[NDArray[Any]], count: int, outputs: Sequence[str]) -> list[NDArray[Any]]:
        for name, answer in zip(outputs, answers, strict=True):
            if answer.ndim == 0 or len(answer) != count:
                raise ModelFailed(f"the model answers {name} of shape {answer.shape} to {count} images")
        return answers
