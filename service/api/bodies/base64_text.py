"""Base64 as clients send it: with line breaks, in the URL-safe alphabet, without padding, or in a `data:` URL."""

import base64
import binascii
import re

DATA_URL = re.compile(r"\s*data:[^,]{0,256},", re.IGNORECASE)
WHITESPACE = str.maketrans("", "", " \t\r\n\f\v")


def decode_base64(text: str) -> bytes:
    """Return the bytes of a base64 text.

    Raises
    ------
    ValueError
        It is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return _decode_leniently(text)


def _decode_leniently(text: str) -> bytes:
    prefix = DATA_URL.match(text)
    if prefix is not None:
        if ";base64" not in prefix[0].lower().replace(" ", ""):
            raise ValueError("the data URL is not in base64")
        text = text[prefix.end() :]
    text = text.translate(WHITESPACE).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
