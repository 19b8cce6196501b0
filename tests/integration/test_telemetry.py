"""No program of Tidemark sends or stores usage data: a home folder stays empty, and no foreign name is looked up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidemark.demo.installation import MODEL

LIBRARIES = (
    "alembic", "fastapi", "httpx", "jinja2", "numpy", "onnx", "onnxruntime", "orjson", "PIL",
    "procrastinate", "prometheus_client", "psutil", "psycopg", "pydantic", "pydantic_settings", "multipart", "rich",
    "scipy", "sqlalchemy", "standardwebhooks", "tomli_w", "typer", "uuid_utils", "uvicorn",
)  # fmt: skip
# Fails on the first look-up of a name or connection beyond this machine, also by native code that asks Python's socket.
GUARD = """
import socket
def refuse(*arguments, **_):
    raise AssertionError(f"looked up {arguments}")
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
"""
SESSION = """
import sys
from pathlib import Path
from tidemark.inference import bundle
from tidemark.inference.model import Model
Model(bundle.load(Path(sys.argv[1])))
"""


def run(home: Path, *command: str) -> None:
    """Run a program as a new user would; the environment says nothing of telemetry."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_", "TIDEMARK_"))
    }
    environment = inherited | {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=home.parent)
    assert result.returncode == 0, result.stderr


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_a_model_that_is_inspected_and_run_leaves_no_trace_of_its_user(home: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    run(home, sys.executable, "-m", "tidemark.cli", "model", "init", str(MODEL), "--out", str(bundle))
    run(home, sys.executable, "-c", SESSION, str(bundle))
    assert files(home) == []


def test_onnx_runtime_s_telemetry_is_off_before_its_first_import(home: Path) -> None:
    code = (
        "import os, sys, tidemark; assert 'onnxruntime' not in sys.modules; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    run(home, sys.executable, "-c", code)


def test_no_dependency_calls_home_or_leaves_files_when_it_is_imported(home: Path) -> None:
    run(home, sys.executable, "-c", f"{GUARD}\nimport tidemark, {', '.join(LIBRARIES)}")
    assert files(home) == []


@pytest.mark.skipif(not Path("/usr/bin/strace").exists(), reason="needs strace")
def test_no_system_call_asks_for_a_foreign_name(home: Path, tmp_path: Path) -> None:
    trace, bundle = tmp_path / "trace", tmp_path / "bundle"
    command = [sys.executable, "-m", "tidemark.cli", "model", "init", str(MODEL), "--out", str(bundle)]
    run(home, "strace", "-f", "-e", "trace=connect,sendto", "-o", str(trace), *command)
    assert "htons(53)" not in trace.read_text()
