"""Small PNG files as most programs write them, decoded without Pillow's reader of chunks, which takes twice as long.

References
----------
The format: https://www.w3.org/TR/png-3/#5DataRep
"""

import zlib
from struct import Struct

from PIL import Image

from .image_metadata import PNG_SIGNATURE

# Signature; length and name of the header, width, height, depth, colour type, method, filter, interlace, checksum;
# length and name of the pixels.
START = Struct(">8sI4sIIBBBBBII4s")
END = b"\0\0\0\0IEND\xaeB`\x82"
CHECKED = slice(12, 29)  # bytes of the header that its checksum is of
CHECKSUM_BYTES = 4  # bytes after the pixels; Pillow does not compare them either
MODES = {0: "L", 2: "RGB"}  # Pillow's mode by the colour type


def plain_png(data: bytes, max_pixels: int) -> Image.Image | None:
    """Return the image of a PNG of at most `max_pixels` with 8-bit grey or RGB pixels in one chunk, and nothing else.

    The pixels are those that Pillow returns: they are read by its own decoder. None for any other file, whose reader
    also says what is wrong with it.
    """
    if len(data) < START.size or not data.endswith(END):
        return None
    signature, header_bytes, header, width, height, *form, checksum, size, pixels = START.unpack_from(data)
    mode = MODES.get(form[1])
    if (signature, header_bytes, header, pixels) != (PNG_SIGNATURE, 13, b"IHDR", b"IDAT") or mode is None:
        return None
    if form != [8, form[1], 0, 0, 0] or START.size + size + CHECKSUM_BYTES + len(END) != len(data):
        return None
    if not 0 < width * height <= max_pixels or zlib.crc32(data[CHECKED]) != checksum:
        return None
    try:
        return Image.frombytes(mode, (width, height), data[START.size : START.size + size], "zip", mode)
    except (ValueError, OSError):
        return None
