"""The data of a response event: class scores and embeddings out of what a model answered."""

import json
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, FailFast, Field

from ...errors import InvalidPredictions
from ...inference.model import activate, pooled
from ...serving.model_registry import RegisteredModel
from ...serving.observations import OBSERVED_PER_REQUEST
from ..bodies.json_text import parse_json, validate
from ..bodies.limits import LimitedBody
from ..bodies.numbers import numbers
from ..bodies.tags import value_text
from ..open_inference.tensors import FLOAT_DATATYPES, MAX_TENSORS, InputTensor, array, sections
from ..problems import Problem

Array = NDArray[Any]


def _null_as_empty(value: Any) -> Any:
    return [] if value is None else value


class ResponseData(BaseModel):
    """A model's response: outputs of the Open Inference Protocol, or TensorFlow Serving's rows of named outputs."""

    model_version: Annotated[str | None, BeforeValidator(value_text)] = None
    outputs: Annotated[
        list[InputTensor], FailFast(), Field(max_length=MAX_TENSORS), BeforeValidator(_null_as_empty)
    ] = []
    predictions: Annotated[
        list[dict[str, Any]], FailFast(), Field(max_length=OBSERVED_PER_REQUEST), BeforeValidator(_null_as_empty)
    ] = []


class Rows(NamedTuple):
    """A model's answer, a row each prediction."""

    probabilities: NDArray[np.float32]  # (m, k)
    embeddings: NDArray[np.float32]  # (m, d)


def split(data: bytes, body: LimitedBody) -> tuple[ResponseData, memoryview]:
    """Return an answer's JSON and the bytes behind it: events do not say where the first ends.

    Raises
    ------
    Problem
        400: no such answer.
    """
    try:
        try:
            return validate(ResponseData, parse_json(data, body)), memoryview(b"")
        except Problem as problem:
            if problem.status != 400:
                raise
        text = data.decode("latin-1")  # so that places in the text are those in the bytes
        end = json.JSONDecoder().raw_decode(text, len(text) - len(text.lstrip()))[1]
        return validate(ResponseData, parse_json(data[:end], body)), memoryview(data)[end:]
    except Problem as problem:
        status = 400 if problem.status == 422 else problem.status
        raise Problem(status, f"response: {problem.detail}", problem.headers) from None
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"response: expected JSON at its start: {error}"[:200]) from None


def rows(answer: ResponseData, binary: memoryview, model: RegisteredModel, embedding_size: int | None) -> Rows:
    """Return the probabilities and embeddings in an answer.

    Parameters
    ----------
    embedding_size : int or None
        The number of values of the model's embeddings, by which the channels of a feature map are distinguished from
        its positions.

    Raises
    ------
    Problem, InvalidPredictions
        The answer lacks an output that `model.toml` names, or an output that cannot be used.
    """
    if answer.outputs:
        scores, embeddings = _from_outputs(answer.outputs, binary, model)
        channels_last = _has_channels_last(embeddings, embedding_size)
    elif answer.predictions:
        scores, embeddings = _from_rows(answer.predictions, model)
        channels_last = embeddings.ndim > 3  # TensorFlow's layout
    else:
        raise Problem(400, "expected a response with outputs or predictions")
    channels_last = channels_last or model.bundle.output.embedding_layout == "NHWC"
    if len(scores) != len(embeddings):
        raise InvalidPredictions(f"the scores have {len(scores)} rows, the embedding has {len(embeddings)}")
    m = len(scores)
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities = activate(scores.reshape(m, -1).astype(np.float32), model.bundle.output.activation)
        return Rows(probabilities, pooled(embeddings, channels_last).astype(np.float32))


def _has_channels_last(embeddings: Array, embedding_size: int | None) -> bool:
    """Return whether only the last axis of feature maps (m, …) has as many values as the model's embeddings have."""
    shape = embeddings.shape
    return len(shape) > 3 and shape[-1] == embedding_size != shape[1]


def _from_outputs(outputs: list[InputTensor], binary: memoryview, model: RegisteredModel) -> tuple[Array, Array]:
    parts = sections(outputs, binary)
    tensors = {output.name: (output, part) for output, part in zip(outputs, parts, strict=True)}
    arrays = []
    for name in _output_names(model):
        if name not in tensors:
            raise InvalidPredictions(f"the response lacks the output {name!r}, it has {', '.join(tensors)}"[:300])
        tensor, part = tensors[name]
        if not tensor.shape or any(side < 1 for side in tensor.shape):
            raise Problem(400, f"output {name!r}: expected a shape of positive numbers, got {tensor.shape}")
        arrays.append((tensor, part))
    (scores, scores_part), (embedding, embedding_part) = arrays
    if scores.shape == [len(model.bundle.labels)]:  # one prediction without its batch axis
        embedding = embedding if embedding.shape[0] == 1 else _batched(embedding)
        scores = _batched(scores)
    return _values(scores, scores_part), _values(embedding, embedding_part)


def _batched(tensor: InputTensor) -> InputTensor:
    """Return a tensor of one prediction with a batch axis."""
    data = tensor.data
    nested = bool(data) and isinstance(data, list) and isinstance(data[0], list)
    return tensor.model_copy(update={"shape": [1, *tensor.shape], "data": [data] if nested else data})


def _values(tensor: InputTensor, part: memoryview) -> Array:
    return array(tensor, tensor.shape[1:], OBSERVED_PER_REQUEST, part, FLOAT_DATATYPES)


def _from_rows(predictions: list[dict[str, Any]], model: RegisteredModel) -> tuple[Array, Array]:
    arrays = []
    for name in _output_names(model):
        for number, row in enumerate(predictions):
            if name not in row:
                raise InvalidPredictions(f"prediction {number} of the response lacks {name!r}")
        values = [row[name] for row in predictions]
        shape = nested_shape(values)
        if len(shape) < 2:
            raise InvalidPredictions(f"{name!r} of the response is not one row of numbers for each prediction")
        try:
            arrays.append(numbers(values, shape, np.float64))
        except ValueError as error:
            raise InvalidPredictions(f"{name!r} of the response: {error}") from None
    return arrays[0], arrays[1]


def nested_shape(values: Any) -> list[int]:
    """Return the shape of nested lists by the first item of each; `numbers` checks that the others agree."""
    shape = []
    while isinstance(values, list) and values:
        shape.append(len(values))
        values = values[0]
    return shape


def _output_names(model: RegisteredModel) -> tuple[str, str]:
    output = model.bundle.output
    if output.embedding is None:
        raise InvalidPredictions(f"model.toml of {model.name} names no output.embedding to find in a response")
    return output.probabilities, output.embedding
