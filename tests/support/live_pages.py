"""Pages of a running service, and what makes them readable."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.browser import Page
from tests.support.seed import Seeded

AUDIT = (Path(__file__).parent / "audit.js").read_text()
AXE = resources.files("axe_core_python").joinpath("axe.min.js").read_text()
VIOLATIONS = """axe.run().then(({ violations }) => violations.flatMap(
  ({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html}`)))"""
# Widths in pixels with colour schemes: each of both once, and all combinations with --slow.
VIEWS = [
    (360, "light"),
    (1200, "dark"),
    pytest.param(360, "dark", marks=pytest.mark.slow),
    pytest.param(1200, "light", marks=pytest.mark.slow),
]


@dataclass(frozen=True)
class Live:
    """A running service and where to look in it."""

    url: str
    engine: Engine
    seeded: Seeded


def assert_can_be_read(page: Page, width: int) -> None:
    """By people with any eyes, hands and programs, as far as axe-core and our own audit can tell."""
    page.run(f"if (!window.axe) {{ {AXE} }}")
    assert page.run(VIOLATIONS) == []
    assert page.run(f"({AUDIT})({width})") == []
    assert [complaint for complaint in page.complaints if "404" not in complaint] == []
