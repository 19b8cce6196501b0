"""Environments of their own for the libraries and servers that Tidemark is compared with, under `.bench/`."""

import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(".bench")


class Missing(Exception):
    """A peer that cannot be measured here; the text says why."""


def python(name: str, packages: Sequence[str]) -> Path:
    """Return the interpreter of an environment that holds `packages`, from the index that pip is set to.

    Raises
    ------
    Missing
        They cannot be installed.
    """
    folder = ROOT / name
    interpreter = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        venv.create(folder, with_pip=True)
        command = [str(interpreter), "-m", "pip", "install", "--quiet", *packages]
        installed = subprocess.run(command, capture_output=True, text=True)
        if installed.returncode:
            raise Missing("cannot be installed: " + (installed.stderr.strip().splitlines() or ["?"])[-1][:80])
        (folder / ".ready").touch()
    return interpreter.absolute()
