"""CloudEvents over HTTP as KServe's inference logger sends them: binary mode, or structured as JSON.

What is read of an event is its identity, its time, the model's name, the headers that KServe was told to pass on, and
its data; see the HTTP binding of CloudEvents 1.0.
"""

import base64
import binascii
import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import orjson
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from starlette.datastructures import Headers

from ...store.prediction_id import id_at
from ..problems import Problem, described
from ..request_bodies import TAGS

STRUCTURED = "application/cloudevents+json"
REQUEST = "org.kubeflow.serving.inference.request"
RESPONSE = "org.kubeflow.serving.inference.response"
EVENT_TAG = "event"  # holds the event's id: the same for a request and its response
MAX_ID = 256  # characters

TIME: TypeAdapter[dt.datetime] = TypeAdapter(AwareDatetime)


@dataclass(frozen=True)
class Event:
    """One event of KServe's inference logger."""

    id: str  # of the request and of its response
    source: str
    type: str
    time: dt.datetime
    service: str | None  # the InferenceService
    tags: dict[str, str]
    data: bytes

    def row_id(self, model: str, row: int, milliseconds: int) -> UUID:
        """Return the id of a row of the response: the same whenever, and to whichever server, the event is sent."""
        named = "\n".join((model, self.source, self.id, str(row)))
        return id_at(milliseconds, hashlib.sha256(named.encode()).digest())


def read(headers: Headers, body: bytes) -> Event:
    """Return the event in a request.

    Raises
    ------
    Problem
        400: no CloudEvent 1.0 of KServe's inference logger, or one without a time.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == STRUCTURED:
        attributes = _object(body)
        data = _data(attributes)
    elif content_type.startswith("application/cloudevents"):
        raise Problem(415, f"expected one event, binary or as {STRUCTURED}, got {content_type}")
    else:
        attributes = {
            name[3:]: unquote(value.encode("latin-1").decode("utf-8", "replace"), errors="replace")
            for name, value in headers.items()
            if name.startswith("ce-")
        }
        data = body
    version = attributes.get("specversion")
    if version != "1.0":
        raise Problem(400, f"expected a CloudEvent with specversion 1.0, got {version!r}")
    key, source, kind = (_text(attributes, name) for name in ("id", "source", "type"))
    if len(key) > MAX_ID:
        raise Problem(400, f"the event's id has {len(key)} characters, at most {MAX_ID} are taken")
    if kind not in (REQUEST, RESPONSE):
        raise Problem(400, f"expected an event of type {REQUEST} or {RESPONSE}, got {kind!r}")
    service = _text(attributes, "inferenceservicename") if attributes.get("inferenceservicename") else None
    return Event(key, source, kind, _time(attributes), service, _tags(key, attributes.get("metadata")), data)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the event is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Problem(400, "expected a JSON object")
    return found


def _data(attributes: Mapping[str, Any]) -> bytes:
    if "data_base64" not in attributes:
        return orjson.dumps(attributes.get("data"))
    try:
        return base64.b64decode(attributes["data_base64"], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Problem(400, "data_base64 is not base64") from None


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    if not isinstance(value, str) or not value:
        raise Problem(400, f"expected the event's attribute {name}, got {value!r}"[:200])
    return value


def _time(attributes: Mapping[str, Any]) -> dt.datetime:
    text = _text(attributes, "time")
    try:
        return TIME.validate_python(text)
    except ValidationError:
        raise Problem(400, f"the event's time is no RFC 3339 time with a zone: {text!r}"[:200]) from None


def _tags(key: str, metadata: Any) -> dict[str, str]:
    """Return the headers in KServe's attribute `metadata` as tags, each with its first value."""
    if metadata in (None, "", "null"):
        return _checked({EVENT_TAG: key})
    headers = _object(metadata.encode()) if isinstance(metadata, str) else metadata
    if not isinstance(headers, dict):
        raise Problem(400, "expected metadata to be a JSON object of headers")
    firsts = {name: values[0] if isinstance(values, list) and values else values for name, values in headers.items()}
    return _checked(firsts | {EVENT_TAG: key})


def _checked(tags: dict[str, Any]) -> dict[str, str]:
    try:
        return TAGS.validate_python(tags)
    except ValidationError as error:
        found = described(error.errors(include_url=False, include_input=False))
        raise Problem(400, f"id and metadata of the event cannot be tags: {found}") from None
