"""The service `inference.GRPCInferenceService`: metadata, health and inference, logged as `/predict` is."""

from importlib.metadata import version as installed_version
from typing import Any

import grpc

from ..endpoints.health import readiness
from ..open_inference.inference import classify, parameter_tags
from ..open_inference.metadata import PLATFORM
from ..open_inference.models import TensorSpec, find_model, input_spec, output_specs
from ..outcome import PredictOutcome
from ..server_state import ServerState
from .calls import CallHandler, Method, OpenCalls
from .message_reader import MessageKind, MessageReader
from .messages import infer_request, infer_response, parsed_message
from .open_inference_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)

SERVICE = "inference.GRPCInferenceService"
MAX_CALLS = 128  # calls at a time whose messages are of one kind, so that slow inference refuses no other call
EXTENSIONS = ["classification"]  # extensions of the protocol that are served over gRPC
READING = ("predict", "read")  # scopes of API keys that may read metadata

TensorMetadata = ModelMetadataResponse.TensorMetadata


def service_handlers(state: ServerState) -> Any:
    """Return the handlers of the service's methods, as `grpc.aio.Server.add_generic_rpc_handlers` takes them."""
    reader = MessageReader(state.settings)
    open_calls = {kind: OpenCalls(MAX_CALLS) for kind in MessageKind}
    handlers: dict[str, Any] = {}
    for method in METHODS:
        handler = CallHandler(method, f"/{SERVICE}/{method.name}", state, reader, open_calls[method.message])
        handlers[method.name] = grpc.stream_unary_rpc_method_handler(handler.handle)
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


async def server_live(_: ServerState, __: bytes) -> ServerLiveResponse:
    return ServerLiveResponse(live=True)


async def server_ready(state: ServerState, _: bytes) -> ServerReadyResponse:
    """Answer as `/readyz` does."""
    return ServerReadyResponse(ready=(await readiness(state)).ready)


async def server_metadata(_: ServerState, __: bytes) -> ServerMetadataResponse:
    return ServerMetadataResponse(name="tidemark", version=installed_version("tidemark"), extensions=EXTENSIONS)


async def model_ready(state: ServerState, data: bytes) -> ModelReadyResponse:
    """Answer as `/readyz` does: the model is loaded before the server answers at all."""
    request = parsed_message(ModelReadyRequest, data)
    find_model(state.models, request.name, request.version)
    return ModelReadyResponse(ready=(await readiness(state)).ready)


async def model_metadata(state: ServerState, data: bytes) -> ModelMetadataResponse:
    request = parsed_message(ModelMetadataRequest, data)
    model = find_model(state.models, request.name, request.version)
    return ModelMetadataResponse(
        name=model.bundle.name,
        versions=[other.bundle.version for other in state.models.versions(model.bundle.name)],
        platform=PLATFORM,
        inputs=[_tensor_metadata(input_spec(model))],
        outputs=[_tensor_metadata(output) for output in output_specs(model)],
    )


def _tensor_metadata(spec: TensorSpec) -> TensorMetadata:
    return TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)


async def model_infer(state: ServerState, data: bytes) -> ModelInferResponse:
    """Classify the rows of the network's input, as `POST /v2/models/{name}/infer` does."""
    message = await state.parsers.run(len(data), parsed_message, ModelInferRequest, data)
    model = find_model(state.models, message.model_name, message.model_version)
    with PredictOutcome(model.metrics) as outcome:
        request = await state.parsers.run(len(data), infer_request, message, model, state.settings.max_image_bytes)
        outcome.tags = parameter_tags(request.body.parameters)
        logged = await classify(model, request, outcome)
        return infer_response(model, request.body, logged, bool(message.raw_input_contents))


METHODS = (
    Method("ServerLive", server_live, MessageKind.EMPTY),
    Method("ServerReady", server_ready, MessageKind.EMPTY),
    Method("ServerMetadata", server_metadata, MessageKind.EMPTY, READING),
    Method("ModelReady", model_ready, MessageKind.NAME, READING),
    Method("ModelMetadata", model_metadata, MessageKind.NAME, READING),
    Method("ModelInfer", model_infer, MessageKind.TENSORS, ("predict",)),
)
