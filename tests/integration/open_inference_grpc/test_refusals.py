"""What is refused over gRPC: wrong tensors, too much memory, late calls, and calls without a key."""

import asyncio
import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import grpc
import pytest
from tritonclient import grpc as triton
from tritonclient.grpc import service_pb2

from tests.support.grpc_calls import DEADLINE, INFER, ONE, ZEROS, Served, infer, message_of, refusal, triton_client
from tests.support.server import state_of
from tests.support.wait import until
from tidemark.api.open_inference_grpc import service
from tidemark.server import grpc_server


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (message_of("FP32", ONE), "either as contents of the inputs or as raw_input_contents"),
        (message_of("FP32", ONE, fp32_contents=[0.0]), "takes 192 fp32_contents, got 1"),
        (message_of("FP32", ONE, int_contents=ZEROS), "takes 192 fp32_contents, got 0"),
        (message_of("FP32", [1, 3, 9, 9], fp32_contents=[0.0]), "expected shape"),
        (message_of("FP32", ONE, fp32_contents=[float("nan")] * 192), "NaN, infinity"),
        (message_of("FP16", ONE, fp32_contents=[0.0]), "FP16 has no typed contents"),
        (message_of("UINT8", ONE, uint_contents=[256] * 192), "outside of 0 to 255"),
        (message_of("INT8", ONE, int_contents=[-129] * 192), "outside of -128 to 127"),
        (message_of("INT32", ONE, int_contents=[-1] * 192), "outside of 0 to 255"),
        (message_of("BOOL", ONE, bool_contents=[True] * 192), "expected datatype"),
        (message_of("BYTES", [2], bytes_contents=[b"x"]), "expected 2 bytes_contents, got 1"),
        (message_of("BYTES", [1, 2], bytes_contents=[b"x", b"y"]), "expected shape"),
        (message_of("BYTES", [1], bytes_contents=[b"no image"]), "image 0: not an image"),
        (message_of("BYTES", [1], bytes_contents=[b""]), "image 0 is empty"),
        (message_of("BYTES", [65], bytes_contents=[b"x"] * 65), "65 images in one request"),
        (message_of("FP32", [65, 3, 8, 8], fp32_contents=[0.0]), "65 rows, at most 64"),
    ],
)
def test_tensors_that_do_not_fit_the_model_are_an_invalid_argument(
    serve: Callable[..., Served], message: service_pb2.ModelInferRequest, says: str
) -> None:
    error = refusal(serve()[1], message)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert says in error.details()


def test_an_invalid_message_is_refused_and_calls_are_counted(serve: Callable[..., Served]) -> None:
    http, port = serve()
    channel: Any
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.RpcError, match="is not a ModelInferRequest"):
            channel.unary_unary(INFER)(b"\xff\xff\xff", timeout=DEADLINE)
        with pytest.raises(grpc.RpcError, match="ended without a message"):
            channel.stream_unary(INFER)(iter(()), timeout=DEADLINE)
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/inference.GRPCInferenceService/ModelStreamInfer")(b"", timeout=DEADLINE)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    infer(port, message_of("UINT8", ONE, uint_contents=ZEROS))
    refusal(port, message_of("FP32", ONE, fp32_contents=[0.0]))
    lines = http.get("/metrics").text.splitlines()
    assert f'tidemark_requests_total{{path="{INFER}",status="200"}} 1.0' in lines
    assert f'tidemark_requests_total{{path="{INFER}",status="400"}} 3.0' in lines
    labels = 'model="pets",slice="",version="3"'
    assert f"tidemark_images_accepted_total{{{labels}}} 1.0" in lines
    refused = 'model="pets",reason="invalid_request",slice="",version="3"'
    assert f"tidemark_images_refused_total{{{refused}}} 1.0" in lines


def test_a_message_is_bounded_also_after_decompression(serve: Callable[..., Served]) -> None:
    _, port = serve(max_request_bytes=1_000_000)
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        message = message_of("BYTES", [1], bytes_contents=[bytes(2_000_000)])
        assert refusal(port, message, compression=compression).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    infer(port, message_of("UINT8", ONE, uint_contents=ZEROS), compression=grpc.Compression.Gzip)


def test_messages_share_the_memory_of_request_bodies(serve: Callable[..., Served]) -> None:
    http, port = serve(max_request_memory=1_000_000)
    error = refusal(port, message_of("BYTES", [1], bytes_contents=[bytes(1_100_000)]))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 1000000 are available" in error.details()
    state_of(http).body_budget.reserve(950_000)
    error = refusal(port, message_of("BYTES", [1], bytes_contents=[bytes(100_000)]))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert ("retry-after", "1") in [tuple(pair) for pair in error.trailing_metadata()]
    state_of(http).body_budget.release(950_000)
    assert "not an image" in refusal(port, message_of("BYTES", [1], bytes_contents=[bytes(100_000)])).details()


def test_a_call_ends_at_its_client_s_deadline(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    http, port = serve()

    begun = threading.Event()

    async def never(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(state_of(http).models.answering[0].predictor, "predict_tensor", never)
    data = message_of("UINT8", ONE, uint_contents=ZEROS).SerializeToString()
    channel: Any
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary(INFER)

        def is_over() -> bool:
            with pytest.raises(grpc.RpcError) as caught:
                method(data, timeout=0.5)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            return begun.is_set()

        until(is_over, "a call that reaches the model before its deadline")
    counter = f'tidemark_requests_total{{path="{INFER}",status="499"}} '
    until(lambda: counter in http.get("/metrics").text, "the cancelled call among the counts")


@pytest.mark.parametrize(
    ("module", "bound", "code"),
    [
        (service, "MAX_CALLS", grpc.StatusCode.UNAVAILABLE),
        (grpc_server, "ALL_CALLS", grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_a_call_beyond_those_that_run_is_refused_until_one_has_ended(
    serve: Callable[..., Served],
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    bound: str,
    code: grpc.StatusCode,
) -> None:
    monkeypatch.setattr(module, bound, 1)
    http, port = serve()
    predictor = state_of(http).models.answering[0].predictor
    predict, begun, released = predictor.predict_tensor, threading.Event(), threading.Event()

    async def once_released(*arguments: Any) -> Any:
        is_first = not begun.is_set()
        begun.set()
        if is_first:
            await asyncio.to_thread(released.wait, DEADLINE)
        return await predict(*arguments)

    monkeypatch.setattr(predictor, "predict_tensor", once_released)
    message = message_of("UINT8", ONE, uint_contents=ZEROS)
    channel: Any
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        first = channel.unary_unary(INFER).future(message.SerializeToString(), timeout=DEADLINE)
        assert begun.wait(DEADLINE)
        assert refusal(port, message).code() == code
        if module is service:
            with triton_client(port) as client:
                assert client.is_server_live(client_timeout=DEADLINE)
                assert client.is_model_ready("pets", client_timeout=DEADLINE)
        released.set()
        assert first.result()

    def is_answered() -> bool:
        with suppress(grpc.RpcError):
            return bool(infer(port, message).model_name == "pets")
        return False

    until(is_answered, "a call after the first one has ended")


def test_api_keys_come_in_metadata(serve: Callable[..., Served]) -> None:
    keys = {scope: hashlib.sha256(scope.encode()).hexdigest() for scope in ("predict", "read", "feedback")}
    _, port = serve(api_keys=",".join(f"{scope}:{sha256}" for scope, sha256 in keys.items()))
    message = message_of("UINT8", ONE, uint_contents=ZEROS)
    for metadata in ((), (("x-api-key", "wrong"),), (("authorization", "Basic cHJlZGljdA=="),)):
        assert refusal(port, message, metadata=metadata).code() == grpc.StatusCode.UNAUTHENTICATED
    assert refusal(port, message, metadata=(("x-api-key", "read"),)).code() == grpc.StatusCode.PERMISSION_DENIED
    for metadata in ((("x-api-key", "predict"),), (("authorization", "Bearer predict"),)):
        assert infer(port, message, metadata=metadata).model_name == "pets"
    with triton_client(port) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_model_metadata("pets", headers={"x-api-key": "read"}).name == "pets"
        with pytest.raises(triton.InferenceServerException, match="lacks the scope"):
            client.get_model_metadata("pets", headers={"x-api-key": "feedback"})
        with pytest.raises(triton.InferenceServerException, match="a valid API key is needed"):
            client.get_server_metadata()
