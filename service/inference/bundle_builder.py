"""Makes a bundle of any ONNX classifier: finds out by its graph, and by running it, all that `model.toml` says."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from pydantic import ValidationError

from . import onnx_inspect as anatomy
from .bundle import MODEL_FILE, BrokenBundle, Bundle, Spec, load, write_spec
from .onnx_inspect import ImageInput

SIDES = (224, 28, 32, 64, 96, 128, 160, 192, 256, 299, 384, 512)  # tried where height and width are free
PRESETS: dict[str, dict[str, Any]] = {
    "unit": {"mean": (0.0,), "std": (1.0,)},
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "resize": "crop"},
}
PROBES = 8  # random images
SUM_TOLERANCE = 0.01  # of probabilities, wide enough for float16
BATCH_TOLERANCE = 0.05  # of the scores' range, wide enough for quantised models


@dataclass(frozen=True)
class _Found:
    size: tuple[int, int]
    scores: str
    activation: str
    classes: int
    embedding: str


def init_bundle(
    model: Path,
    out: Path,
    name: str | None = None,
    version: str = "1",
    labels: Path | None = None,
    preset: str = "unit",
) -> Bundle:
    """Write a bundle for any ONNX classifier; the original file is not changed.

    Parameters
    ----------
    model : the classifier: one image input, class scores or probabilities among its outputs.
    out : folder to make; must be empty or not exist.
    labels : text file with one label a line; "0", "1", ... unless given.
    preset : "unit" feeds 0..1, "imagenet" normalises by ImageNet's mean and deviation and cuts out the centre.

    Raises
    ------
    BrokenBundle
        What was looked for and what was found, in one line.
    """
    if preset not in PRESETS:
        raise BrokenBundle(f"--preset: expected {' or '.join(PRESETS)}, got {preset!r}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BrokenBundle(f"{out} is not an empty folder: give --out a new one")
    proto = _read(model)
    try:
        image = anatomy.image_input(proto)
        if preset == "imagenet" and image.channels != 3:
            raise BrokenBundle(f"--preset imagenet is for 3 channels, the input has {image.channels}")
        found = _examine(proto, image)
    except BrokenBundle as error:
        raise BrokenBundle(f"{model}: {error}") from None
    content = {
        "name": name or _name(model.stem),
        "version": version,
        "labels": _labels(labels, found.classes),
        "input": {
            "name": image.name,
            "size": found.size,
            "mode": "L" if image.channels == 1 else "RGB",
            "layout": image.layout,
            **PRESETS[preset],
        },
        "output": {"probabilities": found.scores, "activation": found.activation, "embedding": found.embedding},
    }
    try:
        spec = Spec.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BrokenBundle(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
    try:
        out.mkdir(parents=True, exist_ok=True)
        onnx.save(proto, out / MODEL_FILE)
        write_spec(out, spec)
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise BrokenBundle(f"{out}: cannot write the bundle: {error}") from None
    return load(out)


def _read(path: Path) -> ModelProto:
    if not path.is_file():
        raise BrokenBundle(f"{path}: no such file")
    try:
        proto = onnx.load(path)
    except Exception as error:  # onnx and protobuf raise many kinds
        raise BrokenBundle(f"{path}: expected an ONNX model, found something else: {_line(error)}") from None
    if not proto.graph.node:
        raise BrokenBundle(f"{path}: expected an ONNX model, found no graph in it")
    return proto


def _examine(proto: ModelProto, image: ImageInput) -> _Found:
    """Find out what the model takes and gives; the graph is left with the embedding exposed and the batch free."""
    size = _size(proto, image)
    scores = _scores(proto, image, size)
    embedding = anatomy.embedding_tensor(proto, scores)
    anatomy.expose(proto, embedding)
    if image.batch is not None:
        _free_batch(proto, image, size, scores)
    rows, hidden = _run(proto, image, size, [scores, embedding])
    if len(rows) != PROBES or len(hidden) != PROBES:
        raise BrokenBundle(f"expected a row of scores and embedding per image, found {rows.shape} and {hidden.shape}")
    activation, classes = _activation(proto, scores, rows.reshape(PROBES, -1).astype(np.float64))
    return _Found(size, scores, activation, classes, embedding)


def _size(proto: ModelProto, image: ImageInput) -> tuple[int, int]:
    """Return the input's height and width; where they are free, the first usual ones with which the model runs."""
    if image.height and image.width:
        return image.height, image.width
    outputs = [output.name for output in proto.graph.output]
    problems = []
    for side in SIDES:
        size = image.height or side, image.width or side
        try:
            _run(proto, image, size, outputs)
        except BrokenBundle as error:
            problems.append(error)
        else:
            return size
    raise BrokenBundle(f"the input's size is free, and the model runs with none of {SIDES}: {problems[0]}")


def _scores(proto: ModelProto, image: ImageInput, size: tuple[int, int]) -> str:
    """Return the output with class scores: a row of classes, or one probability, per image."""
    for name in anatomy.score_outputs(proto):
        [values] = _run(proto, image, size, [name])
        per_image = values.shape[1:]
        count = int(np.prod(per_image))
        single = count == 1 and bool(((values >= 0) & (values <= 1)).all())
        if values.ndim > 1 and count == max(per_image) and (count >= 2 or single):
            return name
    found = ", ".join(f"{output.name} {anatomy.shape(output)}" for output in proto.graph.output)
    raise BrokenBundle(
        f"no classifier: looked for an output N×k of class scores made by a Gemm, MatMul or 1×1 Conv, found {found}"
    )


def _free_batch(proto: ModelProto, image: ImageInput, size: tuple[int, int], scores: str) -> None:
    """Let the batch have any size where the export fixed it, and make sure that the scores stay the same."""
    [before] = _run(proto, image, size, [scores])
    for value in [*proto.graph.input, *proto.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if len(dims) and dims[0].dim_value == image.batch:
            dims[0].dim_param = "N"
    del proto.graph.value_info[:]
    shapes = set(anatomy.dynamic_reshapes(proto))
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name in shapes]
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.output[0] in shapes and node.attribute[0].name == "value":
            tensors.append(node.attribute[0].t)
    for tensor in tensors:
        target = numpy_helper.to_array(tensor).copy()
        if len(target) and target[0] == image.batch:
            target[0] = 0  # as many as come in
            tensor.CopyFrom(numpy_helper.from_array(target, tensor.name))
    try:
        [after] = _run(proto, image, size, [scores])
        room = BATCH_TOLERANCE * float(np.ptp(before)) + 1e-4
        same = len(after) == PROBES and np.allclose(before[0], after[0], rtol=0, atol=room)
    except BrokenBundle:
        same = False
    if not same:
        raise BrokenBundle(
            f"the batch size is fixed at {image.batch} inside the graph: export the model with a dynamic batch axis"
        )


def _run(proto: ModelProto, image: ImageInput, size: tuple[int, int], outputs: list[str]) -> list[NDArray[Any]]:
    """Run the graph on random images."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in proto.opset_import)
        raise BrokenBundle(
            f"ONNX Runtime {onnxruntime.__version__} cannot load this model (opset {opsets}): {_line(error)}"
        ) from None
    fixed = session.get_inputs()[0].shape[0]
    count = fixed if isinstance(fixed, int) else PROBES
    pixels = (image.channels, *size) if image.layout == "NCHW" else (*size, image.channels)
    values = np.random.default_rng(0).random((count, *pixels), dtype=np.float32).astype(image.dtype)
    try:
        found: list[NDArray[Any]] = session.run(outputs, {image.name: values})
    except Exception as error:
        raise BrokenBundle(f"the model fails on {count} random images of {size}: {_line(error)}") from None
    return found


def _activation(proto: ModelProto, scores: str, rows: NDArray[np.float64]) -> tuple[str, int]:
    """Tell logits from probabilities by what they are on random images; return the activation and class count."""
    if rows.shape[1] == 1:
        return "none", 2
    if (rows >= -1e-6).all() and np.allclose(rows.sum(axis=1), 1, atol=SUM_TOLERANCE):
        return "none", rows.shape[1]
    if anatomy.ends_in(proto, scores, "Sigmoid"):
        raise BrokenBundle(
            f"{scores!r} is {rows.shape[1]} independent sigmoids; a classifier's probabilities add up to 1"
        )
    return "softmax", rows.shape[1]


def _labels(path: Path | None, classes: int) -> tuple[str, ...]:
    if path is None:
        return tuple(str(index) for index in range(classes))
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenBundle(f"--labels: cannot read {path}: {error}") from None
    if len(names) != classes:
        raise BrokenBundle(f"--labels: {path} has {len(names)} labels, the model has {classes} classes")
    return tuple(names)


def _name(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)[:128] or "model"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
