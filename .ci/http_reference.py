"""A hook of mkdocs that writes the HTTP reference out of the application's own OpenAPI description."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from tidemark.server.app import ROUTERS

PLACEHOLDER = "<!-- endpoints -->"
PROBLEM = "application/problem+json"  # media type of errors, which the page itself describes
REFERENCE = "#/components/schemas/"  # prefix of a reference to a schema


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the placeholder in a page by a section for each endpoint, and one for each schema."""
    return markdown.replace(PLACEHOLDER, reference()) if PLACEHOLDER in markdown else markdown


def reference() -> str:
    """Return the endpoints grouped by their tags, and the schemas that they refer to, as Markdown."""
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    description = app.openapi()
    groups: dict[str, list[str]] = {}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_section(method.upper(), path, operation))
    sections = [f"## {tag.capitalize()}\n\n" + "\n\n".join(endpoints) for tag, endpoints in groups.items()]
    schemas = [_schema_section(name, schema) for name, schema in sorted(description["components"]["schemas"].items())]
    return "\n\n".join([*sections, "## Schemas", *schemas])


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    """Return an endpoint's section: its purpose, its parameters, its body and its answers."""
    lines = [f"### `{method} {path}`", "", operation.get("summary", ""), "", operation.get("description", "")]
    if parameters := operation.get("parameters"):
        lines += ["", "| parameter | in | type | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{item['name']}` | {item['in']} | {_type(item.get('schema', {}))} | {item.get('description', '')} |"
            for item in parameters
        ]
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content.get("schema", {})
        lines += ["", f"Body `{media_type}`: {_type(schema)}", *_fields(schema)]
    lines += ["", "| status | answer | content |", "|---|---|---|"]
    lines += [
        f"| {status} | {answer.get('description', '')} | {_content(answer.get('content', {}))} |"
        for status, answer in operation["responses"].items()
    ]
    return "\n".join(lines)


def _schema_section(name: str, schema: dict[str, Any]) -> str:
    return "\n".join([f"### {name}", "", schema.get("description", ""), *_fields(schema)])


def _fields(schema: dict[str, Any]) -> list[str]:
    """Return the table of an object's fields; nothing for other schemas."""
    rows = list(_rows(schema, ""))
    return ["", "| field | type | required | meaning |", "|---|---|---|---|", *rows] if rows else []


def _rows(schema: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yield a row for each field of an object, or of the objects of an array; those of objects within follow it."""
    if "items" in schema:
        yield from _rows(schema["items"], f"{prefix}[]")
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}.{name}" if prefix else name
        meaning = " ".join(field.get("description", "").split())
        yield f"| `{path}` | {_type(field)} | {'yes' if name in required else ''} | {meaning} |"
        yield from _rows(field, path)


def _content(content: dict[str, Any]) -> str:
    """Return the media types of an answer with their schemas."""
    return ", ".join(
        f"`{media_type}`" + (f": {_type(item['schema'])}" if item.get("schema") and media_type != PROBLEM else "")
        for media_type, item in content.items()
    )


def _type(schema: dict[str, Any]) -> str:
    """Return the type of a value in words; a schema with a name is a link to its section."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any value")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array" and "items" in schema:
        return f"array of {_type(schema['items'])}"
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, dict) and values:
        return f"object with values of {_type(values)}"
    return str(kind)
