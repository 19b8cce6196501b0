"""The datatype of a model's input, as metadata state it over HTTP and gRPC: a client may send tensors of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from tritonclient.utils import triton_to_np_dtype

from tests.support.graphs import Nodes, build, random
from tests.support.grpc_calls import Served, input_of, triton_client
from tests.support.open_inference import PIXELS, binary
from tidemark.inference.bundle import Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model


@pytest.fixture
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Bundle:
    """A linear model whose input has the number type of the test."""
    nodes: Nodes = [
        ("Cast", ["image"], ["float"], {"to": TensorProto.FLOAT}),
        ("Flatten", ["float"], ["flat"], {}),
        ("Gemm", ["flat", "w"], ["logits"], {}),
    ]
    largest = 1 if request.param in (TensorProto.DOUBLE, TensorProto.FLOAT16) else 255  # of the values of images
    weights = {"w": random(192, 4) / np.float32(largest)}
    graph = build(tmp_path / "linear.onnx", nodes, weights, ["logits"], ("N", 3, 8, 8), dtype=request.param)
    return init_bundle(graph, tmp_path / "bundle", name="pets", version="3")


@pytest.mark.parametrize(
    ("bundle", "datatype"),
    [
        (TensorProto.DOUBLE, "FP64"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.UINT8, "UINT8"),
        (TensorProto.INT32, "INT32"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.INT8, "FP32"),  # whose values are pixels less 128, while tensors of integers are pixels
    ],
    indirect=["bundle"],
)
def test_tensors_of_the_stated_datatype_reach_the_network(
    serve: Callable[..., Served], bundle: Bundle, datatype: str
) -> None:
    http, port = serve()
    assert http.get("/v2/models/pets").json()["inputs"][0]["datatype"] == datatype
    assert http.get("/v2/models/pets/config").json()["input"][0]["data_type"] == f"TYPE_{datatype}"
    model = Model(bundle)
    values = np.ascontiguousarray(model.prepared(PIXELS).astype(triton_to_np_dtype(datatype)))
    with triton_client(port) as client:
        assert client.get_model_metadata("pets").inputs[0].datatype == datatype
        over_grpc = client.infer("pets", [input_of(values, datatype)]).as_numpy("probabilities")
    answer = http.post("/v2/models/pets/infer", **binary(values, datatype)).json()
    over_http = np.reshape(answer["outputs"][0]["data"], over_grpc.shape)
    expected = model.predict(PIXELS)[0]
    assert np.ptp(expected, axis=0).max() > 0.1
    for probabilities in (over_grpc, over_http):
        np.testing.assert_allclose(probabilities, expected, rtol=1e-3, atol=1e-5)
