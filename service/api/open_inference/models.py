"""The models of the Open Inference Protocol's paths, and the shapes and names of their tensors."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from ...model_key import ModelKey
from ...serving.model_registry import ModelRegistry, ServedModel
from ..server_state import server_state
from .tensors import BFLOAT16, FLOAT_DATATYPES, INT_DATATYPES

MODEL_PATH = "/models/{name}"
VERSION_PATH = "/models/{name}/versions/{version}"
OUTPUTS = {"probabilities": "FP32", "label": "BYTES"}  # datatypes by name
RAW_OUTPUTS = {
    "raw_probabilities": "FP32",
    "raw_label": "BYTES",
}  # further outputs of a model whose answers are corrected


DATATYPES = {
    dtype.name: datatype for datatype, dtype in (FLOAT_DATATYPES | INT_DATATYPES).items() if datatype != BFLOAT16
}  # datatypes by numpy's name


def path_parameters(*names: str) -> dict[str, Any]:
    """Return OpenAPI's description of a path's parameters."""
    return {
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    }


def model_of_path(request: Request) -> ServedModel:
    """Return the model that answers under the name, and the version if there is one, of the path.

    Raises
    ------
    UnknownModel
        No such model answers.
    """
    parameters = request.path_params
    return find_model(server_state(request).models, parameters["name"], parameters.get("version"))


def find_model(registry: ModelRegistry, name: str, version: str | None) -> ServedModel:
    """Return the model that answers under a name, and under a version if one is given.

    Raises
    ------
    UnknownModel
        No such model answers.
    """
    return registry.find_answering(str(ModelKey(name, version)) if version else name)


PathModel = Annotated[ServedModel, Depends(model_of_path)]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that a model takes or answers with; -1 in its shape is the number of rows."""

    name: str
    datatype: str
    shape: list[int]


def input_spec(model: ServedModel) -> TensorSpec:
    """Return the input of a model, of the datatype that its network reads if tensors reach it as they are."""
    spec = model.bundle.input
    return TensorSpec(spec.name, DATATYPES[model.predictor.model.tensor_dtype.name], [-1, *spec.row_shape])


def output_specs(model: ServedModel) -> list[TensorSpec]:
    """Return the outputs of a model."""
    datatypes = OUTPUTS | RAW_OUTPUTS if model.corrected else OUTPUTS
    columns = {"FP32": [len(model.bundle.labels)], "BYTES": []}
    return [TensorSpec(name, datatype, [-1, *columns[datatype]]) for name, datatype in datatypes.items()]
