"""The log as text and as JSON, and the variables that look like settings."""

import json
import subprocess
import sys

import pytest

from tidemark.errors import ConfigurationError
from tidemark.settings import Settings, warn_of_unknown_variables

PROGRAM = """
import logging
from tidemark import logs
logs.configure()
log = logging.getLogger("tidemark.test")
log.debug("detail")
log.info("first\\nline")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed for %s", "käse")
"""


def logged(**variables: str) -> list[str]:
    environment = {f"TIDEMARK_{name}": value for name, value in variables.items()} | {"PYTHONUTF8": "1"}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    return process.stderr.splitlines()


def test_json_is_one_object_a_line() -> None:
    first, second = (json.loads(line) for line in logged(LOG_FORMAT="json"))
    assert (first["level"], first["logger"], first["message"]) == ("INFO", "tidemark.test", "first\nline")
    assert first["time"].endswith("+00:00")
    assert second["message"] == "failed for käse"
    assert "ZeroDivisionError" in second["exception"]


@pytest.mark.parametrize(("level", "messages"), [("debug", 3), ("info", 2), ("ERROR", 1), ("nonsense", 2)])
def test_the_level_is_a_setting(level: str, messages: int) -> None:
    assert len(logged(LOG_LEVEL=level, LOG_FORMAT="json")) == messages


@pytest.mark.parametrize(("name", "value"), [("LOG_LEVEL", "nonsense"), ("LOG_FORMAT", "xml"), ("KEEP_ALIVE", "0")])
def test_another_value_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TIDEMARK_{name}", value)
    with pytest.raises(ConfigurationError, match=f"TIDEMARK_{name}"):
        Settings.load()


def test_a_variable_that_is_no_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TIDEMARK_WINDOWSIZE", "200")
    monkeypatch.setenv("TIDEMARK_WINDOW_SIZE", "200")
    warn_of_unknown_variables()
    (record,) = [record for record in caplog.records if "TIDEMARK_WINDOW" in record.getMessage()]
    assert "did you mean TIDEMARK_WINDOW_SIZE?" in record.getMessage()
