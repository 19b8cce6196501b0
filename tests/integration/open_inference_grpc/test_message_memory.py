"""The memory of messages that arrive: how many may at a time, and how much of the others is received."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests.support.grpc_calls import DEADLINE, INFER, ONE, ZEROS, Served, infer, message_of, refusal, triton_client
from tests.support.partial_calls import PartialCalls
from tests.support.wait import until
from tidemark.api.open_inference_grpc import message_reader
from tidemark.api.open_inference_grpc.message_reader import MIN_ARRIVALS, NAME_ARRIVALS, UNREAD_BYTES

SIZE = 1_000_000  # bytes of a message that arrives in part
ARRIVALS = MIN_ARRIVALS - NAME_ARRIVALS  # messages of inference that arrive at a time
METADATA = "/inference.GRPCInferenceService/ModelMetadata"
FOREVER = 10 * DEADLINE  # seconds for a message to arrive, and for its turn, that no test waits for
MESSAGE = message_of("UINT8", ONE, uint_contents=ZEROS)


@contextmanager
def calls_in_part(port: int, count: int) -> Iterator[PartialCalls]:
    """Begin calls, as many as may be read at a time of which all but the last byte have arrived."""
    with PartialCalls(port, INFER, SIZE) as calls:
        for _ in range(count):
            calls.open()
        arrivals = min(count, ARRIVALS)
        until(lambda: sum(sent == SIZE - 1 for sent in calls.send()) >= arrivals, "messages that arrive")
        yield calls


def test_a_message_whose_turn_has_not_come_is_not_received(serve: Callable[..., Served]) -> None:
    _, port = serve()
    with calls_in_part(port, 3 * MIN_ARRIVALS) as calls:
        sent = sorted(calls.send(), reverse=True)
        assert sent[ARRIVALS - 1] == SIZE - 1
        assert sent[ARRIVALS] <= UNREAD_BYTES


def test_more_messages_arrive_at_a_time_where_the_memory_has_room_for_them(serve: Callable[..., Served]) -> None:
    _, port = serve(max_request_bytes=SIZE, max_request_memory=2 * MIN_ARRIVALS * SIZE)
    with PartialCalls(port, INFER, SIZE) as calls:
        for _ in range(3 * MIN_ARRIVALS):
            calls.open()
        room = 2 * MIN_ARRIVALS - NAME_ARRIVALS
        until(lambda: sum(sent == SIZE - 1 for sent in calls.send()) == room, "messages that arrive")


def test_a_call_that_has_waited_too_long_is_told_to_come_again(serve: Callable[..., Served]) -> None:
    _, port = serve(request_timeout=0.2)
    with calls_in_part(port, ARRIVALS):
        error = refusal(port, MESSAGE)
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert "other messages were arriving for 0.2 s" in error.details()
    assert ("retry-after", "1") in [tuple(pair) for pair in error.trailing_metadata()]
    until(lambda: infer(port, MESSAGE), "an answer after the others have ended", not_yet=grpc.RpcError)


def test_a_message_that_takes_too_long_to_arrive_makes_room(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = serve()
    never = threading.Event()
    channel: Any
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, monkeypatch.context() as patch:
        patch.setattr(message_reader, "BODY_SECONDS", 0.2)
        calls = [
            channel.stream_unary(INFER).future((b"" for _ in iter(never.wait, True)), timeout=DEADLINE)
            for _ in range(ARRIVALS)
        ]
        for call in calls:
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert "to arrive" in call.details()
        never.set()
    infer(port, MESSAGE)


def test_slow_inference_and_slow_names_hold_up_no_probe(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_reader, "BODY_SECONDS", FOREVER)
    monkeypatch.setattr(message_reader, "NAME_SECONDS", FOREVER)
    _, port = serve(request_timeout=FOREVER)
    with calls_in_part(port, 3 * MIN_ARRIVALS), triton_client(port) as client:
        assert client.is_model_ready("pets", client_timeout=DEADLINE)
        assert client.get_model_metadata("pets", client_timeout=DEADLINE).name == "pets"
        with PartialCalls(port, METADATA, SIZE) as names:
            for _ in range(3):
                names.open()
            until(lambda: SIZE - 1 in names.send(), "a name that arrives")
            assert client.is_server_live(client_timeout=DEADLINE)
            assert client.is_server_ready(client_timeout=DEADLINE)
            assert client.get_server_metadata(client_timeout=DEADLINE).name == "tidemark"


def test_messages_of_all_kinds_share_the_bound_on_those_that_arrive(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_reader, "BODY_SECONDS", FOREVER)
    monkeypatch.setattr(message_reader, "NAME_SECONDS", FOREVER)
    _, port = serve(request_timeout=FOREVER)
    with calls_in_part(port, 3 * MIN_ARRIVALS) as tensors, PartialCalls(port, METADATA, SIZE) as names:
        for _ in range(2 * MIN_ARRIVALS):
            names.open()
        until(lambda: names.send().count(SIZE - 1) >= NAME_ARRIVALS, "names that arrive")
        for _ in range(3):  # the server has turned to every call before it answers a later one
            with triton_client(port) as client:
                assert client.is_server_live(client_timeout=DEADLINE)
            names.send()
        sent = sorted(tensors.send() + names.send(), reverse=True)
        assert sent[MIN_ARRIVALS - 1] == SIZE - 1
        assert sent[MIN_ARRIVALS] <= UNREAD_BYTES


def test_messages_without_fields_are_not_received(serve: Callable[..., Served]) -> None:
    _, port = serve()
    with PartialCalls(port, "/inference.GRPCInferenceService/ServerLive", SIZE) as calls:
        calls.open()
        until(lambda: calls.send()[0] > 0, "the first bytes of a message")
        with triton_client(port) as client:
            assert client.is_server_live(client_timeout=DEADLINE)
        assert calls.send()[0] <= UNREAD_BYTES


def test_the_name_of_a_model_has_a_time_to_arrive_and_a_size(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = serve()
    never = threading.Event()
    channel: Any
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with monkeypatch.context() as patch:
            patch.setattr(message_reader, "NAME_SECONDS", 0.2)
            call = channel.stream_unary(METADATA).future((b"" for _ in iter(never.wait, True)), timeout=DEADLINE)
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert "more than 0.2 s to arrive" in call.details()
            never.set()
        long = service_pb2.ModelMetadataRequest(name="n" * UNREAD_BYTES).SerializeToString()
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(METADATA)(long, timeout=DEADLINE)
    error: Any = caught.value
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"has at most {UNREAD_BYTES} bytes, got {len(long)}" in error.details()
