"""CloudEvents over HTTP as inference loggers of KServe and Seldon send them: binary, structured as JSON, or a batch.

An event has its identity, its time, the model's name, the headers that the logger passes on, and its data; see the
HTTP binding of CloudEvents 1.0. Loggers do not send an event again that is refused: whatever is not needed to
log a prediction is read leniently.
"""

import binascii
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import orjson
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from starlette.datastructures import Headers

from ...store.prediction_id import id_at
from ..bodies.base64_text import decode_base64
from ..bodies.json_text import parse_json
from ..bodies.limits import LimitedBody
from ..bodies.tags import MAX_TAGS, MAX_VALUE_LENGTH, tag_key, tag_value
from ..problems import Problem

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
REQUEST_TYPES = ("org.kubeflow.serving.inference.request", "io.seldon.serving.inference.request")
RESPONSE_TYPES = ("org.kubeflow.serving.inference.response", "io.seldon.serving.inference.response")
EVENT_TAG = "event"  # holds the event's id: the same for a request and its response
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"})
MAX_EVENTS = 100  # events of a batch

TIME: TypeAdapter[dt.datetime] = TypeAdapter(AwareDatetime)


@dataclass(frozen=True)
class Event:
    """One event of an inference logger."""

    id: str  # the same for a request and its response
    source: str
    is_response: bool
    time: dt.datetime | None  # None if the event has no time that can be read
    service: str | None  # the InferenceService
    tags: dict[str, str]
    data: bytes

    def row_id(self, model: str, row: int, milliseconds: int) -> UUID:
        """Return the id of a row of the response: the same whenever, and to whichever server, the event is sent."""
        name = "\n".join((model, self.source, self.id, str(row)))
        return id_at(milliseconds, hashlib.sha256(name.encode()).digest())


def read_events(headers: Headers, data: bytes, body: LimitedBody, tag_keys: Sequence[str]) -> list[Event]:
    """Return the events in a request.

    Parameters
    ----------
    tag_keys : Sequence[str]
        The tags that matter most, where an event passes on more headers than a prediction may have tags.

    Raises
    ------
    Problem
        400: not a CloudEvent 1.0 of an inference logger; 413: too many; 415: another format.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == BATCH:
        items = parse_json(data, body)
        if not isinstance(items, list):
            raise Problem(400, "expected a JSON array of events")
        if len(items) > MAX_EVENTS:
            raise Problem(413, f"{len(items)} events in one request, at most {MAX_EVENTS} are accepted")
        return [_structured(item, tag_keys) for item in items]
    if content_type == STRUCTURED:
        return [_structured(parse_json(data, body), tag_keys)]
    if content_type.startswith("application/cloudevents"):
        raise Problem(415, f"expected a binary event, {STRUCTURED} or {BATCH}, got {content_type}"[:200])
    attributes = {
        name[3:]: unquote(value.encode("latin-1").decode("utf-8", "replace"), errors="replace")
        for name, value in headers.items()
        if name.startswith("ce-")
    }
    return [_event(attributes, data, tag_keys)]


def _structured(attributes: Any, tag_keys: Sequence[str]) -> Event:
    if not isinstance(attributes, dict):
        raise Problem(400, "expected an event as a JSON object")
    if "data_base64" not in attributes:
        return _event(attributes, orjson.dumps(attributes.get("data")), tag_keys)
    try:
        data = decode_base64(_text(attributes, "data_base64"))
    except (binascii.Error, ValueError):
        raise Problem(400, "data_base64 is not base64") from None
    return _event(attributes, data, tag_keys)


def _event(attributes: Mapping[str, Any], data: bytes, tag_keys: Sequence[str]) -> Event:
    version = attributes.get("specversion")
    if version not in ("1.0", "0.3"):
        raise Problem(400, f"expected a CloudEvent with specversion 1.0, got {version!r}"[:200])
    key, source, kind = (_text(attributes, name) for name in ("id", "source", "type"))
    if kind not in REQUEST_TYPES + RESPONSE_TYPES:
        raise Problem(
            400, f"expected an event of type {' or '.join(REQUEST_TYPES + RESPONSE_TYPES)}, got {kind!r}"[:400]
        )
    service = attributes.get("inferenceservicename")
    return Event(
        id=key,
        source=source,
        is_response=kind in RESPONSE_TYPES,
        time=_time(attributes.get("time")),
        service=service if isinstance(service, str) and service else None,
        tags=_tags(key, attributes.get("metadata"), tag_keys),
        data=data,
    )


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    if not isinstance(value, str) or not value:
        raise Problem(400, f"expected the event's attribute {name}, got {value!r}"[:200])
    return value


def _time(value: Any) -> dt.datetime | None:
    try:
        return TIME.validate_python(value) if isinstance(value, str) else None
    except ValidationError:
        return None


def _tags(event_id: str, metadata: Any, tag_keys: Sequence[str]) -> dict[str, str]:
    """Return the headers in the attribute `metadata` as tags, each with its first value, as far as they can be tags.

    Headers that carry secrets are left out.
    """
    tags = {EVENT_TAG: _clean(event_id)}
    headers = _headers(metadata)
    first_keys = {key.lower() for key in tag_keys}
    for name in sorted(headers, key=lambda name: name.lower() not in first_keys):
        value = headers[name][0] if isinstance(headers[name], list) and headers[name] else headers[name]
        if len(tags) == MAX_TAGS or name.lower() in SECRET_HEADERS or name == EVENT_TAG:
            continue
        try:
            tags[tag_key(name)] = tag_value(name, _clean(value) if isinstance(value, str) else value)
        except ValueError:
            continue
    return tags


def _headers(metadata: Any) -> dict[str, Any]:
    if isinstance(metadata, str) and metadata:
        try:
            metadata = orjson.loads(metadata)
        except orjson.JSONDecodeError:
            return {}
    return metadata if isinstance(metadata, dict) else {}


def _clean(text: str) -> str:
    """Return a text without control characters, cut to what a tag can hold."""
    return "".join(character if character >= " " else " " for character in text)[:MAX_VALUE_LENGTH]
