"""The head and the body of an answer as one write to the socket."""

from typing import Any

from tidemark.server.joined_writes import CONTINUE, JoinedWrites


class Transport:
    """Records what is written to it, each call an entry."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.calls.append(b"".join(parts))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def joined(transport: Any) -> JoinedWrites:
    return JoinedWrites(transport)


def test_the_head_and_the_first_part_of_the_body_are_one_write_and_further_parts_follow() -> None:
    transport = Transport()
    writes = joined(transport)
    writes.write(b"head ")
    assert transport.calls == []
    writes.write(b"first ")
    writes.write(b"second")
    writes.write(b"")
    assert transport.calls == [b"head first ", b"second", b""]


def test_an_empty_body_ends_the_wait_of_the_head() -> None:
    transport = Transport()
    writes = joined(transport)
    writes.write(b"head")
    writes.write(b"")
    assert transport.calls == [b"head"]


def test_a_client_that_waits_to_send_its_body_may_continue_at_once() -> None:
    transport = Transport()
    writes = joined(transport)
    writes.write(CONTINUE)
    writes.write(b"head ")
    writes.write(b"body")
    assert transport.calls == [CONTINUE, b"head body"]


def test_an_answer_that_breaks_off_after_its_head_is_written_before_the_connection_closes() -> None:
    transport = Transport()
    writes = joined(transport)
    writes.write(b"head")
    writes.close()
    assert transport.calls == [b"head"]
    assert writes.is_closing()
