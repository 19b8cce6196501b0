"""Folders that commands write to."""

from pathlib import Path

from .errors import ConfigurationError


def require_empty(out: Path) -> None:
    """Raise ConfigurationError unless a folder is empty or does not exist yet."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} is not an empty folder: give --out a new one")
