"""`GET /openapi.json`, and `GET /docs`: the same as a page that needs no script and nothing from another server.

Both are answered in a thread: the document is made for the first request, which takes some tenths of a second.
"""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, PackageLoader

from .middleware.request_head import path_prefix

router = APIRouter(include_in_schema=False)
templates = Environment(loader=PackageLoader(__package__), autoescape=True, trim_blocks=True, lstrip_blocks=True)


@router.get("/openapi.json")
def get_openapi_document(request: Request) -> Response:
    """Return the description of the API; its server is the path under which the client sees this one."""
    return JSONResponse(request.app.openapi() | {"servers": [{"url": path_prefix.get() or "/"}]})


@router.get("/docs")
def get_docs(request: Request) -> Response:
    """Show the description of the API."""
    document = request.app.openapi()
    html = templates.get_template("docs.html").render(
        document=document,
        groups=_groups(document),
        schemas={name: _pretty(schema) for name, schema in document.get("components", {}).get("schemas", {}).items()},
        pretty=_pretty,
        type_of=_type_of,
        prefix=path_prefix.get(),
    )
    return HTMLResponse(html, headers={"Cache-Control": "no-store"})


def _groups(document: dict[str, Any]) -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    """Return the operations by their tag, each with its method and path."""
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation.get("tags", ["other"])[0], []).append((method.upper(), path, operation))
    return groups


def _pretty(schema: Any) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False)


def _type_of(schema: dict[str, Any]) -> str:
    """Return a short name of a schema's type."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type_of(part) for part in schema["anyOf"])
    if schema.get("type") == "array":
        return f"array of {_type_of(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type", "any"))
