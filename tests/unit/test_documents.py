"""The documents name everything that exists: settings, metrics, commands, rules and files."""

import re
from pathlib import Path

import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from tidemark.api.endpoints.drift_metrics import COUNTERS, GAUGES
from tidemark.cli import app
from tidemark.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OUR_FILE = re.compile(r"`((?:service|tests|benchmarks|docker|docs|migrations)/[\w./-]*)`")
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_is_in_the_table_of_the_readme(name: str) -> None:
    variable = f"TIDEMARK_{name.upper()}"
    table = README.partition("## Settings")[2].partition("\n## ")[0]
    assert f"`{variable}`" in table, f"{variable} is not in the README's table of settings"


def test_the_table_of_settings_names_no_other_variable() -> None:
    table = README.partition("## Settings")[2].partition("\n## ")[0]
    variables = set(re.findall(r"`TIDEMARK_([A-Z_]+)`", table))
    assert variables <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("metric", [*GAUGES, *(f"{name}_total" for name in COUNTERS)])
def test_each_drift_metric_is_in_the_table_of_the_readme(metric: str) -> None:
    table = README.partition("## Metrics")[2].partition("\n## ")[0]
    assert re.search(rf"`{metric}[`{{]", table), f"{metric} is not in the README's table of metrics"


def _commands() -> list[str]:
    group = typer.main.get_command(app)
    words: list[str] = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        words += [f"{name} {sub}" for sub in inner] if inner else [name]
    return words


@pytest.mark.parametrize("command", _commands())
def test_each_command_is_in_the_readme(command: str) -> None:
    assert re.search(rf"(tidemark|make) {command}\b", README), f"`tidemark {command}` is not in the README"


@pytest.mark.parametrize("command", _commands())
def test_each_command_prints_its_help(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.lstrip().startswith("Usage:")


def test_each_rule_has_an_entry_in_the_runbook() -> None:
    rules = yaml.safe_load((ROOT / "docker/prometheus/tidemark.rules.yml").read_text())
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    assert names
    missing = [name for name in names if f"### Runbook: {name}\n" not in README]
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_to_files_resolve(path: Path) -> None:
    broken = [target for target in LINK.findall(path.read_text()) if not (path.parent / target).exists()]
    assert not broken


@pytest.mark.parametrize("path", DOCUMENTS)
def test_the_files_that_a_document_names_exist(path: Path) -> None:
    missing = [name for name in OUR_FILE.findall(path.read_text()) if not (ROOT / name).exists()]
    assert not missing


def test_the_layers_of_the_architecture_are_folders() -> None:
    table = (ROOT / "docs/architecture.md").read_text().partition("## Rooms")[2].partition("\n## ")[0]
    rooms = set(re.findall(r"^\| `([a-z_]+)/`", table, re.M))
    folders = {path.name for path in (ROOT / "service").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == folders
