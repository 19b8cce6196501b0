"""Metadata in image files, which must not decide whether the pixels can be read."""

import struct
import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # chunks that pixels need
WEBP_METADATA = (b"XMP ", b"ICCP")
WEBP_METADATA_FLAGS = 0b0010_0100  # flags of these chunks in the first byte of VP8X
JPEG_START = b"\xff\xd8\xff"
JPEG_SCAN = b"\xff\xda"  # marker of a scan; in compressed data a byte FF is followed by 00 or a restart marker
JPEG_METADATA = (0xE0, *range(0xE2, 0xEE), 0xEF, 0xFE)  # APP0 to APP15 and comments, but for APP1 and APP14
JPEG_ADOBE = 0xEE  # APP14 states the colour transform; APP1, which is kept, has the orientation
ADOBE_BYTES = 14  # length of a complete APP14
MAX_LEADING_BYTES = 16  # line breaks before an image that a broken client sent
BRANDS = {  # bytes that follow the first four: the format
    b"ftypheic": "HEIC", b"ftypheix": "HEIC", b"ftypmif1": "HEIF", b"ftypmsf1": "HEIF", b"ftyphevc": "HEIC",
    b"ftypavif": "AVIF", b"ftypavis": "AVIF",
}  # fmt: skip
SIGNATURES = {  # first bytes of a file: the format
    PNG_SIGNATURE: "PNG", JPEG_START: "JPEG", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"BM": "BMP",
    b"RIFF": "WEBP", b"%PDF-": "PDF", b"\xff\x0a": "JPEG XL",
}  # fmt: skip


def scans(data: bytes) -> int:
    """Return the number of scans of a JPEG, each of which goes over all of its pixels."""
    return data.count(JPEG_SCAN)


def without_metadata(data: bytes) -> bytes | None:
    """Return an image file without its metadata but for a readable orientation; None for another format than PNG, WebP
    and JPEG."""
    data = data[:MAX_LEADING_BYTES].lstrip() + data[MAX_LEADING_BYTES:]
    try:
        if data.startswith(PNG_SIGNATURE):
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(JPEG_START):
            return _jpeg(data)
    except (struct.error, IndexError):
        pass
    return None


def apparent_format(data: bytes) -> str | None:
    """Return the name of the format that the first bytes of a file are those of, whether it is accepted or not."""
    if data[4:12] in BRANDS:
        return BRANDS[data[4:12]]
    if data[4:8] == b"JXL ":
        return "JPEG XL"
    signature = next((start for start in SIGNATURES if data.startswith(start)), None)
    if signature is not None:
        return SIGNATURES[signature]
    return "SVG" if b"<svg" in data[:512] else None


def _png(data: bytes) -> bytes:
    parts, position = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, end = data[position + 4 : position + 8], position + 12 + length
        if kind in PNG_CHUNKS or (kind == b"eXIf" and _is_intact(data[position + 4 : end])):
            parts.append(data[position:end])
        position = end
    return b"".join(parts)


def _is_intact(chunk: bytes) -> bool:
    """Check a PNG chunk, from its kind to its checksum, against its checksum."""
    return zlib.crc32(chunk[:-4]) == int.from_bytes(chunk[-4:], "big")


def _webp(data: bytes) -> bytes:
    parts, position = [], 12
    while position + 8 <= len(data):
        kind = data[position : position + 4]
        (length,) = struct.unpack_from("<I", data, position + 4)
        end = position + 8 + length + length % 2
        chunk = bytearray(data[position:end])
        if kind == b"VP8X":
            chunk[8] &= ~WEBP_METADATA_FLAGS & 0xFF
        if kind not in WEBP_METADATA:
            parts.append(bytes(chunk))
        position = end
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _jpeg(data: bytes) -> bytes:
    parts, position = [data[:2]], 2
    while data[position] == 0xFF and data[position + 1] != JPEG_SCAN[1]:
        if data[position + 1] == 0xFF:  # a fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        end = position + 2 + length
        marker = data[position + 1]
        if marker not in JPEG_METADATA and not (marker == JPEG_ADOBE and length < ADOBE_BYTES):
            parts.append(data[position:end])
        position = end
    return b"".join([*parts, data[position:]])
