"""Settings that cannot be used: one line that names the setting and holds no secret."""

import os

import pytest

from tests.support.command import TOKEN
from tidemark.errors import ConfigurationError
from tidemark.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TIDEMARK_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("WINDOW_SIZE", "many", "valid integer"),
        ("WINDOW_STRIDE", "9000", "must not exceed"),
        ("WEBHOOK_URLS", f"ftp://h/{TOKEN}", "entry 1"),
        ("WEBHOOK_SECRET", f"whsec_{TOKEN}", "base64"),
        ("API_KEYS", f"predict:{TOKEN}", "entry 1"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_without_secrets(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, part: str
) -> None:
    monkeypatch.setenv(f"TIDEMARK_{name}", value)
    with pytest.raises(ConfigurationError, match=part) as error:
        Settings.load()
    (line,) = str(error.value).splitlines()
    assert name.lower() in line.lower()
    assert TOKEN not in line
