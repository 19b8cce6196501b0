"""Templates rendered as pages."""

from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader

from ..api.middleware.request_head import path_prefix
from . import budget, charts, evidence_chart, evidence_history, formatting, further_shifts, guidance

templates = Environment(loader=PackageLoader(__package__), autoescape=True, trim_blocks=True, lstrip_blocks=True)
templates.globals.update(
    budget=budget,
    guidance=guidance,
    charts=charts,
    evidence_chart=evidence_chart,
    evidence_history=evidence_history,
    formatting=formatting,
    further_shifts=further_shifts,
)
templates.globals.update(prefix=path_prefix.get)  # the path under which the reader sees this server


def render_page(template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
    """Return a template filled with values; a page is neither cached nor mixed up with its JSON."""
    html = templates.get_template(template).render(values)
    return HTMLResponse(html, status_code, headers={"Vary": "Accept", "Cache-Control": "no-store"})
