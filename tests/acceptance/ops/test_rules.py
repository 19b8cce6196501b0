"""The shipped Prometheus and Alertmanager files, read by these programs' own tools."""

import re
import shutil
import subprocess

import pytest

from tests.support.shipped_queries import PROMETHEUS, ROOT, rules
from tidemark.api.endpoints.metric_families import KINDS

BY_INCIDENT = '{{ if eq $labels.severity "page" }}critical{{ else }}warning{{ end }}'
BY_REASON = '{{ if eq $labels.reason "too_few_predictions" }}info{{ else }}warning{{ end }}'
SEVERITIES = ("critical", "warning", "info", BY_INCIDENT, BY_REASON)


def checked(tool: str, *arguments: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    result = subprocess.run([tool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "tidemark.rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "tidemark.rules.test.yml"),
        ("test", "rules", "tidemark.days.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_no_fault(arguments: tuple[str, ...]) -> None:
    checked("promtool", *arguments)


def test_amtool_finds_no_fault() -> None:
    checked("amtool", "check-config", str(ROOT / "docker/alertmanager/alertmanager.yml"))


def test_every_alert_says_what_to_do() -> None:
    for rule in rules():
        name = rule["alert"]
        assert rule["labels"]["severity"] in SEVERITIES
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"].endswith(f"#runbook-{name.lower()}")


def test_every_alert_has_its_runbook() -> None:
    manual = (ROOT / "README.md").read_text()
    anchors = {heading.lower().replace(":", "").replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", manual, re.M)}
    assert {rule["annotations"]["runbook_url"].partition("#")[2] for rule in rules()} <= anchors


def test_every_alert_is_tested() -> None:
    tests = "".join(path.read_text() for path in sorted(PROMETHEUS.glob("*.test.yml")))
    assert all(f"alertname: {rule['alert']}\n" in tests for rule in rules())


def test_the_drift_alert_fires_for_every_kind() -> None:
    drift = next(rule for rule in rules() if rule["alert"] == "TidemarkDriftDetected")
    assert "kind" in drift["expr"]
    assert not any(kind in drift["expr"] for kind in KINDS)
