"""The dashboards against Grafana's own schema, as published for Python: nothing unknown, nothing of another type."""

import enum
import json
import types
import typing
from pathlib import Path
from typing import Any

import pytest

from tests.support.shipped_queries import DASHBOARDS, dashboard

sdk = pytest.importorskip("grafana_foundation_sdk", reason="pip install grafana-foundation-sdk")

PROMETHEUS_ANNOTATION = {"titleFormat", "textFormat", "tagKeys", "step"}  # read by its datasource, not in the schema


@pytest.fixture(scope="module", params=DASHBOARDS, ids=[path.stem for path in DASHBOARDS])
def path(request: pytest.FixtureRequest) -> Path:
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    register_default_plugins()
    return Path(request.param)


def model(board: dict[str, Any]) -> Any:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    return Dashboard.from_json(board)


def lost(before: Any, after: Any, at: str = "") -> list[str]:
    """Name what a reader that knows only the schema does not hand on."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            name
            for key in before
            for name in (lost(before[key], after[key], f"{at}.{key}") if key in after else [f"{at}.{key}"])
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [name for n, pair in enumerate(zip(before, after, strict=True)) for name in lost(*pair, f"{at}[{n}]")]
    return [] if before == after else [at]


def mistyped(value: Any, hint: Any, at: str) -> list[str]:
    """Name the values below `value` that are not what the schema's types say."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is object:
        return []
    if origin in (typing.Union, types.UnionType):
        return min((mistyped(value, option, at) for option in arguments), key=len)
    if origin is typing.Literal:
        return [] if value in arguments else [at]
    if origin is not None and not isinstance(value, origin):
        return [at]
    if origin is list:
        return [name for n, item in enumerate(value) for name in mistyped(item, arguments[0], f"{at}[{n}]")]
    if origin is dict:
        return [name for key, item in value.items() for name in mistyped(item, arguments[1], f"{at}.{key}")]
    if hint in (int, float, str, bool, type(None)) or issubclass(hint, enum.Enum):
        return [] if _is_scalar(value, hint) else [at]
    hints = typing.get_type_hints(type(value))
    return [name for key in hints for name in mistyped(getattr(value, key), hints[key], f"{at}.{key}")]


def _is_scalar(value: Any, hint: type) -> bool:
    """Tell whether a value is of a type of JSON, or one of an enumeration's values; a Boolean is no number."""
    if issubclass(hint, enum.Enum):
        return value in [member.value for member in hint]
    return isinstance(value, int | float if hint is float else hint) and isinstance(value, bool) == (hint is bool)


def test_grafana_s_schema_knows_every_field(path: Path) -> None:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    board = dashboard(path)
    after = json.loads(json.dumps(model(board), cls=JSONEncoder))
    unknown = [name for name in lost(board, after) if name.rpartition(".")[2] not in PROMETHEUS_ANNOTATION]
    assert unknown == []


def test_every_value_has_the_schema_s_type(path: Path) -> None:
    board = model(dashboard(path))
    assert mistyped(board, type(board), path.stem) == []


def test_a_wrong_field_and_a_wrong_type_are_seen(path: Path) -> None:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    board = dashboard(path) | {"colour": "red", "editable": "yes"}
    assert ".colour" in lost(board, json.loads(json.dumps(model(board), cls=JSONEncoder)))
    assert mistyped(model(board), type(model(board)), "") == [".editable"]
