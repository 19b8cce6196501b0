"""The documents name everything that exists: settings, metrics, commands, rules and files."""

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from tidemark.api.endpoints.metric_families import COUNTERS, GAUGES, INSTALLATION_COUNTERS, INSTALLATION_GAUGES
from tidemark.cli import app
from tidemark.serving.counters import ServerMetrics
from tidemark.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OUR_FILE = re.compile(r"`((?:service|tests|benchmarks|docker|docs|migrations)/[\w./-]*)`")
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
NUMBER = re.compile(r"([\d.]+) (million|KB|MB|GB)")
UNITS = {"KB": 1e3, "MB": 1e6, "million": 1e6, "GB": 1e9}
NOTHING = ("none", "open", "off")  # words of the table of settings for a default that is empty


def _table(heading: str) -> list[list[str]]:
    """Return the cells of each row of the first table below a heading of the README."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]


def _default(text: str) -> object:
    """Return the value that a default in the table of settings means."""
    if match := re.fullmatch(r"`(.*)`", text):
        return match[1]
    if match := NUMBER.fullmatch(text):
        return f"{float(match[1]) * UNITS[match[2]]:g}"
    return "" if text in NOTHING else text


def _text(default: object) -> str:
    """Return the default of a setting as the table writes it."""
    if isinstance(default, dt.timedelta):
        return f"{default.days}d"
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        return f"{default:g}"
    return str(default) if default else ""


def _settings() -> Iterator[tuple[str, str]]:
    """Yield the names and the defaults in the table of settings; a row may have several of both."""
    for names, defaults, *_ in _table("Settings"):
        yield from zip(names.split(", "), defaults.split(", ") if ", `" in names else [defaults], strict=True)


def test_the_table_of_settings_has_a_row_for_each_and_no_other() -> None:
    names = [name for name, _ in _settings()]
    assert sorted(names) == sorted(f"`TIDEMARK_{name.upper()}`" for name in Settings.model_fields)


@pytest.mark.parametrize(("variable", "default"), list(_settings()))
def test_the_table_of_settings_has_the_default_of_the_code(variable: str, default: str) -> None:
    actual = Settings.model_fields[variable.strip("`").removeprefix("TIDEMARK_").lower()].default
    if default.startswith("`") or NUMBER.fullmatch(default) or default in NOTHING:
        assert _default(default) == _text(actual)
    else:
        assert not actual, f"the default of {variable} is described in words, and the code has {actual!r}"


def test_the_table_of_metrics_has_each_and_no_other() -> None:
    rows = [re.sub(r"\{.*?\}", "", names).split(", ") for names, *_ in _table("Metrics")]
    drift = [*GAUGES, *INSTALLATION_GAUGES, *(f"{name}_total" for name in (*COUNTERS, *INSTALLATION_COUNTERS))]
    families = ServerMetrics().registry.collect()
    server = [family.name + "_total" * (family.type == "counter") for family in families]
    metrics = [*drift, *(name.removeprefix("tidemark_") for name in server)]
    assert sorted(name for names in rows for name in names) == sorted(f"`{name}`" for name in metrics)


@pytest.mark.parametrize(("metric", "labels"), [(name, labels) for name, (_, labels) in GAUGES.items() if labels])
def test_the_table_of_metrics_names_the_labels_of_each(metric: str, labels: list[str]) -> None:
    assert f"`{metric}{{{','.join(labels)}}}`" in README


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


def _options(command: str) -> set[str]:
    group = typer.main.get_command(app)
    for word in command.split():
        group = group.commands[word]  # type: ignore[attr-defined]
    return {option for parameter in group.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("command", _commands())
def test_a_document_names_no_option_that_a_command_lacks(command: str) -> None:
    usages = [usage for path in DOCUMENTS for usage in re.findall(rf"tidemark {command}\b([^`#\n]*)", path.read_text())]
    options = {option for usage in usages for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", usage)}
    assert options <= _options(command)


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


def _anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_to_files_and_headings_resolve(path: Path) -> None:
    for target, anchor in LINK.findall(path.read_text()):
        file = path.parent / target if target else path
        assert file.exists(), f"{path} links to {target}"
        assert not anchor or anchor in _anchors(file), f"{file} has no heading for #{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS)
def test_the_files_that_a_document_names_exist(path: Path) -> None:
    missing = [name for name in OUR_FILE.findall(path.read_text()) if not (ROOT / name).exists()]
    assert not missing


def test_the_layers_of_the_architecture_are_folders() -> None:
    table = (ROOT / "docs/architecture.md").read_text().partition("## Rooms")[2].partition("\n## ")[0]
    rooms = set(re.findall(r"^\| `([a-z_]+)/`", table, re.M))
    folders = {path.name for path in (ROOT / "service").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == folders
