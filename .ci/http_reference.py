"""A hook of mkdocs that writes the HTTP reference out of the application's own OpenAPI description."""

from typing import Any

from fastapi import FastAPI

from tidemark.server.app import ROUTERS

PLACEHOLDER = "<!-- endpoints -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the placeholder in a page by a section for each endpoint."""
    return markdown.replace(PLACEHOLDER, reference()) if PLACEHOLDER in markdown else markdown


def reference() -> str:
    """Return the endpoints as Markdown, grouped by their tags."""
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    description = app.openapi()
    groups: dict[str, list[str]] = {}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_section(method.upper(), path, operation))
    return "\n\n".join(f"## {tag.capitalize()}\n\n" + "\n\n".join(sections) for tag, sections in groups.items())


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    """Return an endpoint's section: its purpose, its parameters and its answers."""
    lines = [f"### `{method} {path}`", "", operation.get("summary", ""), "", operation.get("description", "")]
    if parameters := operation.get("parameters"):
        lines += ["", "| parameter | in | type | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{item['name']}` | {item['in']} | {_type(item.get('schema', {}))} | {item.get('description', '')} |"
            for item in parameters
        ]
    lines += ["", "| status | answer |", "|---|---|"]
    lines += [f"| {status} | {answer.get('description', '')} |" for status, answer in operation["responses"].items()]
    return "\n".join(lines)


def _type(schema: dict[str, Any]) -> str:
    """Return the type of a parameter in words."""
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"] if option.get("type") != "null")
    return str(schema.get("type", "string"))
