"""A request whose body a test wrote byte for byte."""

from typing import TypedDict


class RequestContent(TypedDict):
    """The arguments of a client's `post` that make such a request."""

    content: bytes
    headers: dict[str, str]
