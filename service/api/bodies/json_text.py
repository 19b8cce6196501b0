"""JSON bodies: parsed with a bound on the number of values, and validated up to the first error."""

import json
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from ..problems import Problem, first_error
from .limits import LimitedBody

VALUE_BYTES = 64  # bytes of memory that a value of JSON takes as a Python object, its place in a list included

M = TypeVar("M", bound=BaseModel)


def parse_json(data: bytes, body: LimitedBody) -> Any:
    """Return the value of a JSON text in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Memory for the parsed values is reserved before they are made: commas bound their number from above.

    Raises
    ------
    Problem
        400: not JSON; 413: more values than fit into memory.
    Overloaded
        Other requests hold the memory.
    """
    encoding = json.detect_encoding(data)
    if encoding != "utf-8":
        try:
            data = data.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise Problem(400, f"Invalid JSON: {error}"[:200]) from None
    body.reserve(data.count(b",") * VALUE_BYTES)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"Invalid JSON: {error}"[:200]) from None


def validate(model: type[M], value: Any) -> M:
    """Return a parsed JSON value as `model`.

    Raises
    ------
    Problem
        422: it does not fit; the detail is the first error.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Problem(422, first_error(error)) from None
