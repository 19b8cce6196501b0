"""Decompression of request bodies, piece by piece and with a bound, so that no compressed body can exhaust memory."""

import zlib
from collections.abc import Iterable

from ..problems import Problem

GZIP_MAGIC = b"\x1f\x8b\x08"  # the first bytes of gzip data
GZIP, GZIP_OR_ZLIB, RAW_DEFLATE = 31, 47, -15  # zlib's `wbits`
WINDOW_BITS = {"gzip": GZIP, "x-gzip": GZIP, "deflate": GZIP_OR_ZLIB}
ACCEPTED_ENCODINGS = "gzip, deflate"
PIECE_BYTES = 262_144  # bytes of decompressed data in a piece


class Inflater:
    """Decompresses a body of which no piece is larger than `PIECE_BYTES`.

    Parameters
    ----------
    encoding : str
        The value of the header `Content-Encoding`, in lower case.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._stream: zlib._Decompress | None = None

    @classmethod
    def of_headers(cls, headers: Iterable[tuple[bytes, bytes]]) -> "Inflater | None":
        """Return what decompresses the body of a request, or None if the body is not compressed."""
        for name, value in headers:
            if name == b"content-encoding":
                encoding = value.decode("latin-1").strip().lower()
                return None if encoding in ("", "identity") else cls(encoding)
        return None

    def check_encoding(self) -> None:
        """Raise a Problem with status 415 that lists the accepted encodings (RFC 9110, section 12.5.3) for others."""
        if self._encoding not in WINDOW_BITS:
            detail = f"expected Content-Encoding gzip, deflate or none, got {self._encoding[:64]!r}"
            raise Problem(415, detail, {"Accept-Encoding": ACCEPTED_ENCODINGS})

    def __call__(self, data: bytes) -> tuple[bytes, bytes]:
        """Return a decompressed piece, and the bytes that remain to be decompressed.

        Raises
        ------
        Problem
            400: the data is broken, or continues after its end.
        """
        if self._stream is None:
            self._stream = zlib.decompressobj(self._window_bits(data))
        if self._stream.eof:
            raise Problem(400, f"the body continues after the end of its {self._encoding} data")
        try:
            piece = self._stream.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            raise Problem(400, f"the body is not {self._encoding} data: {error}") from None
        return piece, self._stream.unconsumed_tail or self._stream.unused_data

    def check_end(self) -> None:
        """Raise a Problem with status 400 if the compressed data is cut off."""
        if self._stream is None or not self._stream.eof:
            raise Problem(400, f"the body's {self._encoding} data is cut off")

    def _window_bits(self, data: bytes) -> int:
        without_header = len(data) < 2 or int.from_bytes(data[:2], "big") % 31 != 0
        if self._encoding == "deflate" and without_header:
            return RAW_DEFLATE  # many clients send it, although RFC 9110 requires zlib's header
        return WINDOW_BITS[self._encoding]


def gunzip(data: bytes, limit: int) -> bytes:
    """Return gzip data decompressed.

    Raises
    ------
    Problem
        400: the data is broken; 413: it has more than `limit` bytes when decompressed.
    """
    inflate, pieces, size = Inflater("gzip"), [], 0
    while data:
        piece, data = inflate(data)
        size += len(piece)
        if size > limit:
            raise Problem(413, f"the decompressed body has more than {limit} bytes")
        pieces.append(piece)
    inflate.check_end()
    return b"".join(pieces)
