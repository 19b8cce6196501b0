"""What the shipped files ask of Prometheus: the queries of dashboards, and the expressions of rules."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "docker/prometheus"
DASHBOARDS = sorted((ROOT / "docker/grafana/dashboards").glob("*.json"))
COMPARISON = re.compile(r"(==|[<>]=?) ")


class Rule(TypedDict):
    """A rule of Prometheus that alerts."""

    alert: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]


def dashboard(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that show data."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def rules() -> list[Rule]:
    content = yaml.safe_load((PROMETHEUS / "tidemark.rules.yml").read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


def queries_of_dashboards(values: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield a name and the query, its variables replaced, of every panel and annotation."""
    for path in DASHBOARDS:
        board = dashboard(path)
        for panel in panels(board):
            for target in panel["targets"]:
                yield f"{board['title']}, {panel['title']}, {target['refId']}", substituted(target["expr"], values)
        for annotation in board["annotations"]["list"]:
            yield f"{board['title']}, {annotation['name']}", substituted(annotation["expr"], values)


def queries_of_rules() -> Iterator[tuple[str, str]]:
    """Yield a name and the expression of every alert, its comparisons answering 0 or 1 rather than nothing."""
    for rule in rules():
        yield rule["alert"], COMPARISON.sub(r"\1 bool ", rule["expr"])


def substituted(query: str, values: dict[str, str]) -> str:
    """Return a query as Grafana sends it."""
    for name, value in values.items():
        query = query.replace(f"${name}", value)
    assert "$" not in query, f"unknown variable in {query}"
    return query
