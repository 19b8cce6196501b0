"""Bodies of `multipart/form-data`, parsed in memory and in one pass: nothing is written to a temporary file."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ..problems import Problem

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 128  # parts of a body, files and text fields together


@dataclass
class Part:
    """One part of a multipart body."""

    name: str = ""
    filename: str | None = None
    content_type: str = ""
    data: bytes = b""


def parse_multipart(content_type: str, body: bytes) -> list[Part]:
    """Return the parts of a body in their order.

    Raises
    ------
    Problem
        400: it is broken or cut off; 413: it has too many parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Problem(400, "broken multipart body: the Content-Type names no boundary")
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Problem(400, f"broken multipart body: {error}"[:200]) from None
    if not reader.ended:
        raise Problem(400, "broken multipart body: it is cut off")
    return reader.parts


@dataclass
class _Reader:
    """State of the parser's callbacks: the parts read so far."""

    parts: list[Part] = field(default_factory=list)
    ended: bool = False
    _name: bytes = b""
    _value: bytes = b""
    _pieces: list[bytes] = field(default_factory=list)

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise Problem(413, f"the body has more than {MAX_PARTS} parts")
        self.parts.append(Part())
        self._pieces = []

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        part, name = self.parts[-1], self._name.lower()
        if name == b"content-disposition":
            options = parse_options_header(self._value)[1]
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                part.filename = options[b"filename"].decode("utf-8", "replace")
        elif name == b"content-type":
            part.content_type = self._value.decode("latin-1").partition(";")[0].strip().lower()
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        self.parts[-1].data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []

    def _finish(self) -> None:
        self.ended = True
