"""Tags of predictions, such as `camera=7`: from a query, a JSON body or the fields of a form."""

import math
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError, WithJsonSchema
from starlette.requests import Request

from ...setting_types import TAG_KEY
from ..problems import Problem, first_error

MAX_TAGS = 16  # tags of one prediction
MAX_VALUE_LENGTH = 256  # characters of a tag's value

TAGS_SCHEMA = {
    "type": "object",
    "maxProperties": MAX_TAGS,
    "additionalProperties": {"type": ["string", "number", "boolean"], "maxLength": MAX_VALUE_LENGTH},
    "default": {},
}


def check_tags(value: Any) -> dict[str, str]:
    """Return an object of JSON as tags; numbers and booleans become their text.

    Raises
    ------
    ValueError
        It holds what cannot be a tag; the first of them is named.
    """
    if not isinstance(value, dict):
        raise ValueError("expected an object of tags")
    if len(value) > MAX_TAGS:
        raise ValueError(f"at most {MAX_TAGS} tags are accepted, got {len(value)}")
    return {tag_key(key): tag_value(key, item) for key, item in value.items()}


def tag_key(key: Any) -> str:
    """Return a tag's key, or raise a ValueError."""
    if not isinstance(key, str) or not TAG_KEY.fullmatch(key):
        raise ValueError(f"a tag key has 1 to 64 letters, digits or ._-, got {key!r}"[:200])
    return key


def tag_value(key: str, value: Any) -> str:
    """Return a tag's value as text, or raise a ValueError."""
    text = value_text(value)
    if text is None or len(text) > MAX_VALUE_LENGTH or not is_printable(text):
        raise ValueError(
            f"tag {key}: expected a string without control characters of at most {MAX_VALUE_LENGTH} characters, "
            "a number or a boolean"
        )
    return text


def value_text(value: Any) -> str | None:
    """Return the text of a JSON string, number or boolean, and None for anything else; 7.0 is the same as 7."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    return None


def is_printable(text: str) -> bool:
    """Return whether a text holds no control character."""
    return not any(character < " " for character in text)


Tags = Annotated[dict[str, str], BeforeValidator(check_tags), WithJsonSchema(TAGS_SCHEMA)]
_TAGS: TypeAdapter[dict[str, str]] = TypeAdapter(Tags)


def query_tags(request: Request) -> dict[str, str]:
    """Return the tags of a query `?tag=key:value`.

    Raises
    ------
    Problem
        422: a pair that cannot be a tag.
    """
    if not request.scope["query_string"]:
        return {}
    return tags_of_pairs(request.query_params.getlist("tag"))


def tags_of_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Return the tags of texts such as `camera:7`, or raise a Problem with status 422."""
    parts = [pair.partition(":") for pair in pairs]
    if not parts:
        return {}
    try:
        return _TAGS.validate_python({key: value for key, _, value in parts})
    except ValidationError as error:
        raise Problem(422, f"tag: {first_error(error)}; expected key:value") from None
