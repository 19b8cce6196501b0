"""Calls of the Open Inference Protocol over gRPC, with Triton's client and without it."""

from typing import Any

import grpc
import numpy as np
import pytest
from fastapi.testclient import TestClient
from tritonclient import grpc as triton
from tritonclient.grpc import service_pb2

INFER = "/inference.GRPCInferenceService/ModelInfer"
DEADLINE = 60.0  # seconds
Served = tuple[TestClient, int]


def triton_client(port: int) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(f"127.0.0.1:{port}")


def input_of(values: np.ndarray, datatype: str = "FP32") -> triton.InferInput:
    tensor = triton.InferInput("image", list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


def infer(port: int, message: service_pb2.ModelInferRequest, **call: Any) -> service_pb2.ModelInferResponse:
    """Call without Triton's client, which always sends raw contents."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)]) as channel:
        method = channel.unary_unary(
            INFER,
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        return method(message, timeout=DEADLINE, **call)


def message_of(datatype: str, shape: list[int], **contents: Any) -> service_pb2.ModelInferRequest:
    message = service_pb2.ModelInferRequest(model_name="pets")
    tensor = message.inputs.add(name="image", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    return message


def refusal(port: int, message: service_pb2.ModelInferRequest, **call: Any) -> Any:
    """Return the error of a refused call, which is also the call."""
    with pytest.raises(grpc.RpcError) as caught:
        infer(port, message, **call)
    return caught.value


ONE = [1, 3, 8, 8]


ZEROS = [0] * 192
