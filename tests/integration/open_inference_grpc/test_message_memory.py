"""The memory of messages that arrive: how many may at a time, and how much of the others is received."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from tests.support.grpc_calls import DEADLINE, INFER, ONE, ZEROS, Served, infer, message_of, refusal
from tests.support.partial_calls import PartialCalls
from tests.support.wait import until
from tidemark.api.open_inference_grpc import message_reader
from tidemark.api.open_inference_grpc.message_reader import MIN_ARRIVALS, UNREAD_BYTES

SIZE = 1_000_000  # bytes of a message that arrives in part
MESSAGE = message_of("UINT8", ONE, uint_contents=ZEROS)


@contextmanager
def calls_in_part(port: int, count: int) -> Iterator[PartialCalls]:
    """Begin calls, as many as may be read at a time of which all but the last byte have arrived."""
    with PartialCalls(port, INFER, SIZE) as calls:
        for _ in range(count):
            calls.open()
        arrivals = min(count, MIN_ARRIVALS)
        until(lambda: sum(sent == SIZE - 1 for sent in calls.send()) >= arrivals, "messages that arrive")
        yield calls


def test_a_message_whose_turn_has_not_come_is_not_received(serve: Callable[..., Served]) -> None:
    _, port = serve()
    with calls_in_part(port, 3 * MIN_ARRIVALS) as calls:
        sent = sorted(calls.send(), reverse=True)
        assert sent[MIN_ARRIVALS - 1] == SIZE - 1
        assert sent[MIN_ARRIVALS] <= UNREAD_BYTES


def test_more_messages_arrive_at_a_time_where_the_memory_has_room_for_them(serve: Callable[..., Served]) -> None:
    _, port = serve(max_request_bytes=SIZE, max_request_memory=2 * MIN_ARRIVALS * SIZE)
    with PartialCalls(port, INFER, SIZE) as calls:
        for _ in range(3 * MIN_ARRIVALS):
            calls.open()
        until(lambda: sum(sent == SIZE - 1 for sent in calls.send()) == 2 * MIN_ARRIVALS, "messages that arrive")


def test_a_call_that_has_waited_too_long_is_told_to_come_again(serve: Callable[..., Served]) -> None:
    _, port = serve(request_timeout=0.2)
    with calls_in_part(port, MIN_ARRIVALS):
        error = refusal(port, MESSAGE)
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert f"{MIN_ARRIVALS} other messages were arriving" in error.details()
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
            for _ in range(MIN_ARRIVALS)
        ]
        for call in calls:
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert "to arrive" in call.details()
        never.set()
    infer(port, MESSAGE)
