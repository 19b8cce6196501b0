"""What OpenAPI says of parameters that several endpoints share, and of the API keys."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .middleware.api_keys import OPEN_PATHS

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


def describe(app: FastAPI, secured: bool) -> dict[str, Any]:
    """Return the application's OpenAPI document; with API keys it says which requests need one."""
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    if secured:
        document.setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES
        for path, operations in document["paths"].items():
            for operation in operations.values():
                operation["security"] = [] if path in OPEN_PATHS else [{name: []} for name in SECURITY_SCHEMES]
    return document
