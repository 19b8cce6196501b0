"""Request bodies: read with a bound on bytes and time, and taken apart into images and tags."""

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from starlette.formparsers import MultiPartException, MultiPartParser

from .problems import Problem, described

IMAGES_PER_REQUEST = 64
BODY_SECONDS = 30.0  # a client that takes longer to send its body is cut off
LATE = "the body is late"
DRAINED = 8  # times the limit that is read and dropped, so that a client gets to read its 413

TagKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
TagValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{0,256}$")]
Tags = Annotated[dict[TagKey, TagValue], Field(max_length=16)]
TAGS: TypeAdapter[dict[str, str]] = TypeAdapter(Tags)


class ImagesBody(BaseModel):
    """Images as base64, with tags that hold for all of them."""

    model_config = ConfigDict(extra="forbid")

    images: list[str] = Field(min_length=1, max_length=IMAGES_PER_REQUEST)
    tags: Tags = {}


async def images_and_tags(request: Request, max_image_bytes: int) -> tuple[list[bytes], dict[str, str]]:
    """Return the encoded images of a request to predict, and its tags.

    Raises
    ------
    Problem
        400, 413, 415 or 422, as the contract says.
    """
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    many = IMAGES_PER_REQUEST * max_image_bytes
    if kind.startswith("image/"):
        images, tags = [await read_body(request, max_image_bytes)], query_tags(request)
    elif kind == "multipart/form-data":
        images, tags = await _parts(request, await read_body(request, many)), query_tags(request)
    elif kind == "application/json":
        images, tags = _json(await read_body(request, many * 4 // 3), query_tags(request))
    else:
        raise Problem(
            415, f"expected image/*, multipart/form-data or application/json, got {kind or 'no content type'}"
        )
    for number, image in enumerate(images):
        if not image:
            raise Problem(400, f"image {number} is empty")
        if len(image) > max_image_bytes:
            raise Problem(413, f"image {number} has {len(image)} bytes, at most {max_image_bytes} are taken")
    return images, tags


async def read_body(request: Request, limit: int) -> bytes:
    """Return a request's body.

    Raises
    ------
    Problem
        413 with more than `limit` bytes, 408 if it takes longer than `BODY_SECONDS`.
    """
    parts: list[bytes] = []
    size = 0
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a body is read in a task")
    late = asyncio.get_running_loop().call_later(BODY_SECONDS, task.cancel, LATE)  # what asyncio.timeout does, slower
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                parts.append(chunk)
            elif size > DRAINED * limit:
                break
            else:
                parts.clear()
    except asyncio.CancelledError as cancelled:
        if cancelled.args != (LATE,) or task.uncancel():
            raise
        raise Problem(408, f"the body took more than {BODY_SECONDS:.0f} s to arrive") from None
    finally:
        late.cancel()
    if size > limit:
        raise Problem(413, f"the body has more than {limit} bytes")
    return b"".join(parts)


async def _parts(request: Request, body: bytes) -> list[bytes]:
    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        parser = MultiPartParser(request.headers, once(), max_files=IMAGES_PER_REQUEST, max_fields=0)
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise Problem(400, f"broken multipart body: {getattr(error, 'message', error)}") from None
    files = [part for name, part in form.multi_items() if name == "file" and not isinstance(part, str)]
    if not files:
        raise Problem(422, "expected one or more parts named `file` with a filename")
    return [await part.read() for part in files]


def _json(body: bytes, tags: dict[str, str]) -> tuple[list[bytes], dict[str, str]]:
    try:
        parsed = ImagesBody.model_validate_json(body)
    except ValidationError as error:
        broken = error.errors()[0]["type"] == "json_invalid"
        raise Problem(400 if broken else 422, described(error.errors(include_url=False))) from None
    return [_base64(text, number) for number, text in enumerate(parsed.images)], tags | parsed.tags


def _base64(text: str, number: int) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, f"image {number} is not base64") from None


def query_tags(request: Request) -> dict[str, str]:
    """Return the tags of a query `?tag=key:value`.

    Raises
    ------
    Problem
        422: not what a tag may be.
    """
    if not request.scope["query_string"]:
        return {}
    pairs = [tag.partition(":") for tag in request.query_params.getlist("tag")]
    try:
        return TAGS.validate_python({key: value for key, _, value in pairs}) if pairs else {}
    except ValidationError as error:
        raise Problem(422, f"tag: {described(error.errors(include_url=False))}; expected ?tag=key:value") from None
