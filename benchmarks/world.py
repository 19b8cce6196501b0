"""Held-out images of a classifier and what it makes of them, for the benchmarks of the statistics."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tidemark.demo.installation import MODEL
from tidemark.demo.scans import halves, scan
from tidemark.drift import Reference
from tidemark.inference import bundle as bundles
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.properties import measure

# Arrays (n × …) by the name of an argument of `drift`; passed as keywords, which mypy can check for no narrower type.
Arrays = dict[str, Any]

Predict = Callable[[NDArray[np.uint8]], tuple[Any, Any]]  # from images to probabilities and embeddings

DIGITS = 12_000


@dataclass(frozen=True)
class World:
    """Images (uint8) with labels, shuffled, and the function that makes predictions of them."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    predict: Predict

    @classmethod
    def load(cls, model: str, files: Sequence[str]) -> "World":
        """Pool .npz files of `images` and `labels`, and run a model.

        Parameters
        ----------
        model : str
            Folder of a bundle, or an ONNX file with the outputs `probabilities` and `embedding`, which takes pixels of
            0 to 1.
        files : sequence of str
            Their images are held out from fitting, of the model's size.
        """
        parts = [labelled_images(file) for file in files]
        images, labels = (np.concatenate(values) for values in zip(*parts, strict=True))
        order = np.random.default_rng(0).permutation(len(labels))
        return cls(images[order], labels[order], _bundle(model) if Path(model).is_dir() else _network(model))

    def arrays(self, images: NDArray[np.uint8]) -> Arrays:
        """Return embeddings, probabilities and properties of images."""
        answers = [self.predict(images[start : start + 256]) for start in range(0, len(images), 256)]
        probabilities, embeddings = (np.concatenate(parts) for parts in zip(*answers, strict=True))
        height, width = images.shape[1:3]
        properties = measure(images, [width] * len(images), [height] * len(images))
        return {"embeddings": embeddings, "probabilities": probabilities, "properties": properties}


def labelled_images(file: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return `images` (n, H, W) or (n, H, W, 3) and `labels` (n,) of an .npz file."""
    with np.load(file) as arrays:
        return arrays["images"], arrays["labels"].astype(np.int64)


def _network(path: str) -> Predict:
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name

    def predict(images: NDArray[np.uint8]) -> tuple[Any, Any]:
        x = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        return tuple(session.run(["probabilities", "embedding"], {name: x.astype(np.float32) / 255}))

    return predict


def _bundle(folder: str) -> Predict:
    return Model(bundles.load(Path(folder))).predict


def rows(arrays: Arrays, index: Any) -> Arrays:
    return {name: values[index] for name, values in arrays.items()}


def reference(arrays: Arrays, labels: NDArray[np.int64]) -> Reference:
    return Reference(**arrays, labels=labels)


def digits() -> World:
    """Return the demo's world: jittered scans of the half of the digits that its model was not fitted on."""
    rng = np.random.default_rng(0)
    _, held_out = halves()
    indices = rng.integers(0, len(held_out.labels), DIGITS)
    folder = tempfile.TemporaryDirectory()
    init_bundle(MODEL, Path(folder.name) / "bundle", name="digits")
    model = Model(bundles.load(Path(folder.name) / "bundle"))

    def predict(images: NDArray[np.uint8]) -> tuple[Any, Any]:
        _ = folder  # lives as long as the model
        return model.predict(images)

    return World(scan(held_out.images[indices], rng), held_out.labels[indices].astype(np.int64), predict)
