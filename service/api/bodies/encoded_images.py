"""Encoded images and their tags, out of the bodies that clients send to `POST /predict`."""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, Field
from starlette.requests import Request

from ..outcome import PredictOutcome
from ..problems import Problem
from .base64_text import decode_base64
from .json_text import parse_json, validate
from .limits import LimitedBody, body_of
from .multipart import Part, parse_multipart
from .parsing_pool import ParsingPool
from .tags import Tags, check_tags, query_tags, tag_key, tag_value, tags_of_pairs

IMAGES_PER_REQUEST = 64  # images, or rows of a tensor, that one request may have
FORM = "multipart/form-data"
MAGIC = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"GIF8",
    b"RIFF",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
)  # JPEG, PNG, GIF, WebP, BMP, TIFF
BOX_MAGIC = (b"ftyp", b"JXL ")  # bytes 4 to 8 of HEIC, AVIF and JPEG XL
# Content types that clients send without meaning them: the first bytes of the body tell whether it is an image.
UNTYPED = ("", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded", "text/plain")


class ImagesBody(BaseModel):
    """Images as base64, with tags that hold for all of them."""

    images: list[str] = Field(min_length=1, max_length=IMAGES_PER_REQUEST)
    tags: Tags = {}


class EncodedImages(NamedTuple):
    """The images and tags of a request to predict."""

    images: list[bytes]
    tags: dict[str, str]


async def read_images(
    request: Request, pool: ParsingPool, max_image_bytes: int, outcome: PredictOutcome
) -> EncodedImages:
    """Return the encoded images of a request to predict, and its tags; `outcome` learns of them as they are read.

    Raises
    ------
    Problem
        400, 408, 413, 415 or 422: the body cannot be used.
    Overloaded
        Other requests hold the memory or the threads that it needs.
    """
    tags = outcome.tags = query_tags(request)
    content_type = content_type_of(request)
    kind = content_type.partition(";")[0].strip().lower()
    body = await body_of(request).read()
    if kind in UNTYPED:
        kind = recognised_type(body) or kind
    if kind.startswith("image/"):
        encoded = EncodedImages([body], tags)
    elif kind == FORM:
        encoded = await pool.run(len(body), _from_form, content_type, body, tags)
    elif is_json(kind):
        encoded = await pool.run(len(body), _from_json, body, body_of(request), tags)
    else:
        raise Problem(415, f"expected image/*, {FORM} or application/json, got {kind or 'no content type'}")
    outcome.tags, outcome.images = encoded.tags, len(encoded.images)
    check_sizes(encoded.images, max_image_bytes)
    return encoded


def content_type_of(request: Request) -> str:
    """Return the header `Content-Type`, empty without one; `request.headers` takes six times as long."""
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            return str(value, "latin-1")
    return ""


def check_sizes(images: Sequence[bytes], max_image_bytes: int) -> None:
    """Raise a Problem if an encoded image is empty (400) or has more than `max_image_bytes` (413)."""
    for number, image in enumerate(images):
        if not image:
            raise Problem(400, f"image {number} is empty")
        if len(image) > max_image_bytes:
            raise Problem(
                413,
                f"image {number} has {len(image)} bytes, at most {max_image_bytes} are accepted "
                "(TIDEMARK_MAX_IMAGE_BYTES)",
            )


def recognised_type(body: bytes) -> str | None:
    """Return the media type of a body that has none, by its first bytes; None if they are not known."""
    if body.startswith(MAGIC) or body[4:8] in BOX_MAGIC:
        return "image/*"
    return "application/json" if body[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else None


def is_json(media_type: str) -> bool:
    """Return whether a media type is that of JSON."""
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def _from_json(data: bytes, body: LimitedBody, tags: dict[str, str]) -> EncodedImages:
    parsed = validate(ImagesBody, parse_json(data, body))
    images = []
    for number, text in enumerate(parsed.images):
        try:
            images.append(decode_base64(text))
        except ValueError:
            raise Problem(400, f"image {number} is not base64") from None
    return EncodedImages(images, tags | parsed.tags)


def _from_form(content_type: str, body: bytes, tags: dict[str, str]) -> EncodedImages:
    images: list[bytes] = []
    pairs: list[str] = []
    fields: dict[str, str] = {}
    for part in parse_multipart(content_type, body):
        if _is_image(part):
            images.append(part.data)
        elif part.name == "tag":
            pairs.append(part.data.decode("utf-8", "replace"))
        else:
            fields |= _tag_of_field(part)
    if not images:
        raise Problem(422, "expected one or more parts with an image, such as `file` with a filename")
    if len(images) > IMAGES_PER_REQUEST:
        raise Problem(413, f"{len(images)} images in one request, at most {IMAGES_PER_REQUEST} are accepted")
    try:
        return EncodedImages(images, check_tags(tags | fields | tags_of_pairs(pairs)))
    except ValueError as error:
        raise Problem(422, f"tag: {error}") from None


def _is_image(part: Part) -> bool:
    if part.filename is not None or part.content_type.startswith("image/"):
        return bool(part.filename or part.data)  # a browser sends an empty part for a field without a file
    return part.data.startswith(MAGIC) or part.data[4:8] in BOX_MAGIC


def _tag_of_field(part: Part) -> dict[str, str]:
    """Return a text field as a tag; a field that cannot be one, such as a form's long comment, is ignored."""
    try:
        key = tag_key(part.name)
        return {key: tag_value(key, part.data.decode("utf-8").strip())}
    except ValueError:
        return {}
