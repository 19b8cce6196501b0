"""The addresses and event types of KServe's inference logger."""

import base64
import datetime as dt
import json
from typing import Any

from tests.support.observed import E, P
from tests.support.request_content import RequestContent
from tidemark.api.cloud_events.event import REQUEST_TYPES, RESPONSE_TYPES, STRUCTURED

URL = "/observe/cloudevents"
REQUEST, RESPONSE = REQUEST_TYPES[0], RESPONSE_TYPES[0]


NOW = dt.datetime.now(dt.UTC)


def attributes(kind: str = RESPONSE, **changes: str | None) -> dict[str, str]:
    """The attributes that KServe's worker sets, in the order in which it does."""
    values = {
        "specversion": "1.0",
        "id": "8d3a",
        "type": kind,
        "source": "http://localhost:9081/",
        "time": NOW.isoformat().replace("+00:00", "Z"),
        "inferenceservicename": "far",
        "namespace": "default",
        "component": "predictor",
        "endpoint": "",
        "metadata": '{"X-Camera":["7"]}',
    } | changes
    return {name: value for name, value in values.items() if value is not None}


def binary(data: bytes, **changes: Any) -> RequestContent:
    headers = {f"ce-{name}": value for name, value in attributes(**changes).items()}
    return {"content": data, "headers": headers | {"Content-Type": "application/json"}}


def structured(data: bytes, encoded: bool = False, **changes: Any) -> RequestContent:
    body = {"data_base64": base64.b64encode(data).decode()} if encoded else {"data": json.loads(data)}
    body |= attributes(**changes)
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": f"{STRUCTURED}; charset=utf-8"}}


def outputs(as_bytes: bool = False, datatype: str = "FP32", **changes: Any) -> bytes:
    """A response of the Open Inference Protocol, with an output that nobody asked us to read."""
    values = {"other": E[:, :1], "scores": P, "features": E} | changes
    dtype = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}[datatype]
    tensors, rest = [], b""
    for name, array in values.items():
        output = {"name": name, "shape": list(array.shape), "datatype": datatype}
        part = array.astype(dtype).tobytes()
        if as_bytes:
            rest += part
            tensors.append(output | {"parameters": {"binary_data_size": len(part)}})
        else:
            tensors.append(output | {"data": array.ravel().tolist()})
    return json.dumps({"model_name": "far", "model_version": "1", "id": "8d3a", "outputs": tensors}).encode() + rest


def rows() -> bytes:
    items = [{"scores": p.tolist(), "features": e.tolist()} for p, e in zip(P, E, strict=True)]
    return json.dumps({"predictions": items}).encode()


def event_of_row(**changes: Any) -> RequestContent:
    """An event with one prediction."""
    return binary(outputs(scores=P[:1], features=E[:1], other=E[:1, :1]), **changes)
