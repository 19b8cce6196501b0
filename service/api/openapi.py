"""What OpenAPI says of parameters that several endpoints share, and of the API keys."""

from collections.abc import Sequence
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from .. import __version__
from .middleware.api_keys import OPEN_PATHS

TITLE = "Tidemark"
SUMMARY = "Serves an image classifier and notices when the world it was trained on has moved"
TAG_PARAMETER: dict[str, Any] = {
    "name": "tag",
    "in": "query",
    "required": False,
    "description": "key:value, repeatable",
    "schema": {"type": "array", "items": {"type": "string"}},
}
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of TIDEMARK_API_KEYS"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def model_parameter(otherwise: str) -> dict[str, Any]:
    """Return the query parameter `model`, and which model is meant without it."""
    return {
        "name": "model",
        "in": "query",
        "required": False,
        "description": f"name or name:version; {otherwise}",
        "schema": {"type": "string"},
    }


def describe(routes: Sequence[BaseRoute], secured: bool) -> dict[str, Any]:
    """Return the OpenAPI document of the routes; with API keys it says which requests need one."""
    document = get_openapi(title=TITLE, version=__version__, summary=SUMMARY, routes=routes)
    if secured:
        document.setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES
        for path, operations in document["paths"].items():
            for operation in operations.values():
                operation["security"] = [] if path in OPEN_PATHS else [{name: []} for name in SECURITY_SCHEMES]
    return document
