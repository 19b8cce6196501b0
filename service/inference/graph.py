"""Inspects an ONNX classifier and makes a bundle of it: input, scores, and the embedding behind the scores."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from service.inference.bundle import MODEL_FILE, BrokenBundle, Bundle, InputSpec, OutputSpec, Spec, load, write_spec

DEFAULT_SIZE = 224  # of an input whose height and width are free
EMBEDDING = "tidemark_embedding"
PRESETS: dict[str, dict[str, tuple[float, ...]]] = {
    "unit": {"mean": (0.0,), "std": (1.0,)},
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
}
HEADS = ("Gemm", "MatMul", "Conv", "QLinearMatMul", "QGemm", "FusedMatMul", "FusedGemm", "QLinearConv")
PASSING = (  # operators between the head and the scores that leave classes in place
    "Softmax", "LogSoftmax", "Sigmoid", "Add", "Sub", "Mul", "Div", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
    "Identity", "Cast", "GlobalAveragePool", "AveragePool", "ReduceMean", "Clip", "Dropout", "Transpose",
    "QuantizeLinear", "DequantizeLinear", "BatchNormalization",
)  # fmt: skip
PROBES = 8  # random images that tell logits from probabilities


@dataclass(frozen=True)
class _Input:
    name: str
    layout: str
    channels: int
    size: tuple[int, int]
    batch: int | None  # None where it is free


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
    preset : "unit" feeds 0..1, "imagenet" normalises by ImageNet's mean and deviation.

    Raises
    ------
    BrokenBundle
        What was looked for and what was found, in one line.
    """
    if preset not in PRESETS:
        raise BrokenBundle(f"--preset: expected {' or '.join(PRESETS)}, got {preset!r}")
    if out.exists() and any(out.iterdir()):
        raise BrokenBundle(f"{out} is not empty: give --out a new folder")
    proto = _read(model)
    image = _image_input(proto, model)
    if preset == "imagenet" and image.channels != 3:
        raise BrokenBundle(f"{model}: the preset imagenet is for 3 channels, the input has {image.channels}")
    scores = _scores(proto, image, model)
    embedding = _embedding(proto, scores, model)
    exposed = _expose(proto, embedding)
    _free_batch(proto, image)
    outputs = _probe(proto, image, [scores, exposed], model)
    activation, classes = _activation(outputs[0], model, scores)
    if outputs[1].ndim > 2:
        exposed = _pool(proto, exposed, outputs[1].ndim)
    names = _labels(labels, classes)
    spec = Spec(
        name=_name(name or model.stem),
        version=version,
        labels=names,
        input=InputSpec(
            name=image.name,
            size=image.size,
            mode="L" if image.channels == 1 else "RGB",
            layout="NHWC" if image.layout == "NHWC" else "NCHW",
            **PRESETS[preset],
        ),
        output=OutputSpec.model_validate(
            {"probabilities": scores, "activation": activation, "embedding": exposed},
        ),
    )
    out.mkdir(parents=True, exist_ok=True)
    try:
        large = proto.ByteSize() > 2**31 - 2**20
        onnx.save(proto, out / MODEL_FILE, save_as_external_data=large, location="model.data" if large else None)
        write_spec(out, spec)
        return load(out)
    except Exception:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _read(path: Path) -> ModelProto:
    if not path.is_file():
        raise BrokenBundle(f"{path}: no such file")
    try:
        proto = onnx.load(path)
        onnx.checker.check_model(proto) if proto.ByteSize() < 2**31 else None
    except Exception as error:  # onnx and protobuf raise many kinds
        reason = " ".join(str(error).split())[:200]
        raise BrokenBundle(f"{path}: expected an ONNX model, found something else: {reason}") from None
    if not proto.graph.node:
        raise BrokenBundle(f"{path}: expected an ONNX model, found an empty graph")
    return proto


def _image_input(proto: ModelProto, path: Path) -> _Input:
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    found = ", ".join(f"{value.name} {_shape(value)}" for value in inputs)
    looked = f"{path}: expected one float image input N×C×H×W or N×H×W×C with 1 or 3 channels, found {found}"
    if len(inputs) != 1:
        raise BrokenBundle(looked)
    shape = _shape(inputs[0])
    if inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT or len(shape) != 4:
        raise BrokenBundle(f"{looked} ({TensorProto.DataType.Name(inputs[0].type.tensor_type.elem_type)})")
    if shape[1] in (1, 3):
        layout, channels, size = "NCHW", shape[1], shape[2:4]
    elif shape[3] in (1, 3):
        layout, channels, size = "NHWC", shape[3], shape[1:3]
    else:
        raise BrokenBundle(looked)
    height, width = ((side if isinstance(side, int) and side > 0 else DEFAULT_SIZE) for side in size)
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    return _Input(inputs[0].name, layout, int(channels), (height, width), batch)


def _shape(value: Any) -> list[int | str]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims]


def _scores(proto: ModelProto, image: _Input, path: Path) -> str:
    """Return the name of the output with class scores: the first that ends at a classification head."""
    outputs = [output.name for output in proto.graph.output]
    by_result = _producers(proto)
    for name in sorted(outputs, key=lambda output: _rank(output, outputs)):
        head = _head(by_result, name)
        if head is not None and _is_score(proto, name, image, path):
            return str(name)
    raise BrokenBundle(
        f"{path}: expected an output N×k of class scores made by Gemm, MatMul or a 1×1 Conv, found "
        + ", ".join(f"{output.name} {_shape(output)}" for output in proto.graph.output)
    )


def _rank(output: str, outputs: list[str]) -> tuple[bool, int]:
    known = any(word in output.lower() for word in ("prob", "logit", "score", "class", "softmax"))
    return not known, outputs.index(output)


def _is_score(proto: ModelProto, name: str, image: _Input, path: Path) -> bool:
    """Tell whether an output is a row of at least two classes, or one sigmoid, for each image."""
    if any(word in name.lower() for word in ("embed", "feature", "hidden")):
        return False
    [values] = _probe(proto, image, [name], path)
    rows = values.reshape(len(values), -1)
    single = rows.shape[1] == 1 and bool(((rows >= 0) & (rows <= 1)).all())
    return (
        values.shape[0] in (PROBES, 1) and (rows.shape[1] >= 2 or single) and rows.size == max(values.shape) * len(rows)
    )


def _producers(proto: ModelProto) -> dict[str, NodeProto]:
    return {result: node for node in proto.graph.node for result in node.output}


def _head(by_result: dict[str, NodeProto], name: str) -> NodeProto | None:
    """Go back from the scores to the operator that made them out of the embedding."""
    for node in _backwards(by_result, name):
        if node.op_type in HEADS:
            return node
    return None


def _backwards(by_result: dict[str, NodeProto], name: str) -> Iterator[NodeProto]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop(0)
        node = by_result.get(current)
        if node is None or current in seen:
            continue
        seen.add(current)
        yield node
        if node.op_type in PASSING:
            waiting.extend(node.input)


def _embedding(proto: ModelProto, scores: str, path: Path) -> str:
    """Return the tensor that the classification head reads."""
    by_result = _producers(proto)
    head = _head(by_result, scores)
    if head is None:
        raise BrokenBundle(f"{path}: no embedding: nothing before {scores!r} is a Gemm, MatMul or 1×1 Conv")
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [name for name in head.input[:4] if name and not _constant(name, by_result, constants)]
    if not inputs:
        raise BrokenBundle(f"{path}: no embedding: {head.op_type} {head.name!r} reads constants only")
    return str(inputs[0])


def _constant(name: str, by_result: dict[str, NodeProto], constants: set[str]) -> bool:
    if name in constants:
        return True
    node = by_result.get(name)
    if node is None:
        return False
    return node.op_type == "Constant" or all(_constant(i, by_result, constants) for i in node.input if i)


def _expose(proto: ModelProto, tensor: str) -> str:
    """Make a tensor of the graph an output as float, and return the output's name."""
    if any(output.name == tensor for output in proto.graph.output):
        return tensor
    node = helper.make_node("Cast", [tensor], [EMBEDDING], name=EMBEDDING, to=TensorProto.FLOAT)
    proto.graph.node.append(node)
    proto.graph.output.append(helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, None))
    return EMBEDDING


def _pool(proto: ModelProto, exposed: str, ndim: int) -> str:
    """Average an embedding over its positions: N×C×H×W before a convolution, N×T×C before a MatMul."""
    axes = [1] if ndim == 3 else list(range(2, ndim))
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    pooled = f"{EMBEDDING}_pooled"
    if opset >= 18:
        constant = numpy_helper.from_array(np.array(axes, np.int64), f"{pooled}_axes")
        proto.graph.initializer.append(constant)
        node = helper.make_node("ReduceMean", [exposed, constant.name], [pooled], name=pooled, keepdims=0)
    else:
        node = helper.make_node("ReduceMean", [exposed], [pooled], name=pooled, axes=axes, keepdims=0)
    proto.graph.node.append(node)
    kept = [output for output in proto.graph.output if output.name != exposed or exposed != EMBEDDING]
    del proto.graph.output[:]
    proto.graph.output.extend([*kept, helper.make_tensor_value_info(pooled, TensorProto.FLOAT, None)])
    return pooled


def _free_batch(proto: ModelProto, image: _Input) -> None:
    """Let a batch have any size where the export fixed it at one."""
    if image.batch is None:
        return
    for value in [*proto.graph.input, *proto.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if len(dims) and dims[0].HasField("dim_value") and dims[0].dim_value == image.batch:
            dims[0].dim_param = "N"
    del proto.graph.value_info[:]


def _probe(proto: ModelProto, image: _Input, outputs: list[str], path: Path) -> list[NDArray[Any]]:
    """Run the graph on random images."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        opset = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in proto.opset_import)
        reason = " ".join(str(error).split())[:200]
        raise BrokenBundle(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot run this model (opset {opset}): {reason}"
        ) from None
    height, width = image.size
    fixed = session.get_inputs()[0].shape[0]
    count = fixed if isinstance(fixed, int) else PROBES
    shape = (image.channels, height, width) if image.layout == "NCHW" else (height, width, image.channels)
    values = np.random.default_rng(0).random((count, *shape), dtype=np.float32)
    try:
        found: list[NDArray[Any]] = session.run(outputs, {image.name: values})
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise BrokenBundle(f"{path}: the model fails on a batch of {count} random images: {reason}") from None
    return found


def _activation(scores: NDArray[Any], path: Path, name: str) -> tuple[str, int]:
    """Tell logits from probabilities by what they are on random images; return the activation and class count."""
    rows = scores.reshape(len(scores), -1).astype(np.float64)
    if rows.shape[0] not in (PROBES, 1):
        raise BrokenBundle(f"{path}: expected {PROBES} rows of scores in {name!r}, found shape {scores.shape}")
    if rows.shape[1] == 1:
        return "none", 2
    probabilities = bool((rows >= -1e-6).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3))
    return ("none" if probabilities else "softmax"), rows.shape[1]


def _labels(path: Path | None, classes: int) -> tuple[str, ...]:
    if path is None:
        return tuple(str(index) for index in range(classes))
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenBundle(f"--labels: cannot read {path}: {error}") from None
    if len(names) != classes:
        raise BrokenBundle(f"--labels: {path} has {len(names)} labels, the model has {classes} classes")
    if len(set(names)) != classes:
        raise BrokenBundle(f"--labels: {path} names a label twice")
    return tuple(names)


def _name(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text) or "model"
