"""What an inference of the Open Inference Protocol means, whichever transport has brought it: HTTP or gRPC.

The input is the network's own tensor: of a floating-point datatype as the network reads it, of integers, which are the
pixels before scale, mean and std, or of BYTES, which are encoded images such as `/predict` takes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...inference.predictor import Tensor
from ...serving.model_registry import ServedModel
from ...serving.prediction_logger import LoggedPredictions
from ..bodies.encoded_images import IMAGES_PER_REQUEST
from ..bodies.tags import check_tags
from ..outcome import PredictOutcome
from ..problems import Problem
from .models import output_specs
from .tensors import BFLOAT16, FLOAT_DATATYPES, INT_DATATYPES, InferBody, InputTensor, RequestedOutput

BYTES = "BYTES"
INPUT_DATATYPES = {name: dtype for name, dtype in FLOAT_DATATYPES.items() if name != BFLOAT16} | INT_DATATYPES
OUTPUT_PARAMETERS = frozenset({"binary_data", "classification"})
TAG_PREFIX = "tag:"  # a request's parameter of the name tag:camera is its tag `camera`


class InferRequest(NamedTuple):
    """A request without its values, and these: a tensor as the network reads it, pixels, or encoded images."""

    body: InferBody
    values: Tensor | list[bytes]


class OutputValues(NamedTuple):
    """A tensor that the answer has."""

    requested: RequestedOutput
    datatype: str
    values: NDArray[Any]


def checked_input(body: InferBody, model: ServedModel) -> InputTensor:
    """Return the one input of a request whose outputs and parameters the model can serve.

    Raises
    ------
    Problem
        400: other inputs, outputs or parameters.
    """
    name = model.bundle.input.name
    names = [tensor.name for tensor in body.inputs]
    if names != [name]:
        raise Problem(400, f"expected one input {name!r}, got {names[:5]}"[:500])
    datatypes = {output.name: output.datatype for output in output_specs(model)}
    for output in body.outputs:
        if output.name not in datatypes:
            raise Problem(400, f"no output {output.name[:64]!r}, there are {', '.join(datatypes)}")
        if unsupported := output.parameters.keys() - OUTPUT_PARAMETERS:
            raise Problem(400, f"output {output.name!r}: the parameter {min(unsupported)[:64]!r} is not supported")
        _check_classification(output, datatypes[output.name])
    if "classification" in body.parameters:
        raise Problem(400, "the parameter classification belongs to an output, not to the request")
    return body.inputs[0]


def _check_classification(output: RequestedOutput, datatype: str) -> None:
    if "classification" not in output.parameters:
        return
    count = output.parameters["classification"]
    if datatype != "FP32" or type(count) is not int or count < 1:
        raise Problem(
            400, f"output {output.name!r}: classification takes a number of classes, and belongs to probabilities"
        )


def parameter_tags(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags among a request's parameters, such as `{"tag:camera": "7"}`.

    Raises
    ------
    Problem
        400: a parameter that cannot be a tag.
    """
    pairs = {name.removeprefix(TAG_PREFIX): value for name, value in parameters.items() if name.startswith(TAG_PREFIX)}
    try:
        return check_tags(pairs)
    except ValueError as error:
        raise Problem(400, str(error)) from None


def image_count(tensor: InputTensor) -> int:
    """Return the number of encoded images that a tensor of BYTES has by its shape, [n] or [n, 1].

    Raises
    ------
    Problem
        400: another shape; 413: too many images.
    """
    if len(tensor.shape) not in (1, 2) or tensor.shape[0] < 1 or tensor.shape[1:] not in ([], [1]):
        raise Problem(400, f"expected shape [-1] or [-1, 1] of encoded images, got {tensor.shape}")
    if tensor.shape[0] > IMAGES_PER_REQUEST:
        raise Problem(413, f"{tensor.shape[0]} images in one request, at most {IMAGES_PER_REQUEST} are accepted")
    return tensor.shape[0]


def network_tensor(values: NDArray[Any]) -> Tensor:
    """Return floating-point values as float32 or float64, and integers as the pixels that they are.

    Raises
    ------
    Problem
        400: values outside of what a float32 or a pixel can be.
    """
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            tensor = values.astype(np.float32, copy=False)
        if not np.isfinite(tensor).all():
            raise Problem(400, "the values hold more than FP32 can")
        return values if values.dtype == np.float64 else tensor
    if values.min() < 0 or values.max() > 255:
        raise Problem(400, "integers are pixels: the values lie outside of 0 to 255")
    return values.astype(np.uint8, copy=False)


async def classify(model: ServedModel, request: InferRequest, outcome: PredictOutcome) -> LoggedPredictions:
    """Return the logged predictions of a request; models in shadow receive its images."""
    outcome.images = len(request.values)
    files = request.values if isinstance(request.values, list) else None
    if isinstance(request.values, list):
        logged = await model.predictor.predict(request.values, outcome.tags)
    else:
        logged = await model.predictor.predict_tensor(request.values, outcome.tags)
    for shadow in model.shadows:
        shadow.submit(logged, files)
    return logged


def output_values(model: ServedModel, body: InferBody, logged: LoggedPredictions) -> list[OutputValues]:
    """Return the outputs that a request asks for, or all of them if it names none."""
    labels = np.array(model.bundle.labels, dtype=object)
    answered, predictions = logged.answered, logged.predictions
    values: dict[str, NDArray[Any]] = {
        "probabilities": answered.astype(np.float32, copy=False),
        "label": labels[answered.argmax(axis=1)],
        "raw_probabilities": predictions.probabilities,
        "raw_label": labels[predictions.indices],
    }
    outputs = []
    for output in body.outputs or [RequestedOutput(name=spec.name) for spec in output_specs(model)]:
        if count := output.parameters.get("classification"):
            outputs.append(OutputValues(output, BYTES, _most_likely(values[output.name], labels, count)))
        else:
            datatype = BYTES if output.name.endswith("label") else "FP32"
            outputs.append(OutputValues(output, datatype, values[output.name]))
    return outputs


def _most_likely(probabilities: NDArray[Any], labels: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the likeliest classes (m, count) as `probability:index:label`, the format of Triton's classification."""
    tops = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    texts = [
        [f"{row[index]:f}:{index}:{labels[index]}" for index in top]
        for row, top in zip(probabilities, tops.tolist(), strict=True)
    ]
    return np.array(texts, dtype=object)
