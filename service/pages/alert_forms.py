"""The forms of an alert's page: acknowledge, mute, accept, undo."""

import asyncio
import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy import Connection

from ..alerts.acceptance import MIN_ROWS
from ..alerts.schemas import BaselineSummary
from ..api.caller import caller_of
from ..api.endpoints.alert_actions import (
    MAX_NOTE,
    AcceptBody,
    AcknowledgeBody,
    MuteBody,
    accept_alert,
    existing_alert,
    undo_acceptance,
)
from ..api.middleware.request_head import path_prefix
from ..api.problems import Problem, first_error
from ..api.server_state import database_state
from ..store import baselines
from ..store.alerts import AlertRow
from .forms import check_token, new_token, read_form
from .rendering import render_page

MUTES = {"1h": "1 hour", "4h": "4 hours", "1d": "1 day", "7d": "7 days"}
PARTS = {
    "all": "images and mix of classes",
    "images": "the images as they are now",
    "mix": "the mix of classes; a change of images still alerts",
}

router = APIRouter(tags=["pages"], include_in_schema=False)


@dataclass(frozen=True)
class Controls:
    """The actions of an administrator on an alert's page, and the token that its forms carry.

    Parameters
    ----------
    can_accept : bool
        Whether the alert fires, so that there is a change to accept.
    baseline : BaselineSummary, optional
        The accepted traffic that the stream is compared with, which can be undone.
    """

    token: str
    can_accept: bool
    baseline: BaselineSummary | None
    mutes = MUTES
    parts = PARTS
    min_rows = MIN_ROWS
    max_note = MAX_NOTE


def controls(request: Request, connection: Connection, alert: AlertRow) -> Controls | None:
    """Return the controls of an alert's page, or None for callers that may only read."""
    if not caller_of(request).is_admin:
        return None
    row = baselines.current(connection, alert.stream_id)
    return Controls(new_token(request), alert.state == "firing", None if row is None else BaselineSummary.from_row(row))


@router.post("/alerts/{alert_id}/page/{action}")
async def act(alert_id: UUID, action: str, request: Request) -> Response:
    """Carry out what a form of an alert's page asks for, and show the page again."""
    try:
        form = await read_form(request)
        check_token(request, form)
        await asyncio.to_thread(_act, request, alert_id, action, form)
    except Problem as problem:
        back = {"back": f"/alerts/{alert_id}/page", "back_text": "Back to the alert"}
        return render_page("problem.html", problem.status, detail=problem.detail, **back)
    return RedirectResponse(f"{path_prefix.get()}/alerts/{alert_id}/page", 303)


def _act(request: Request, alert_id: UUID, action: str, form: dict[str, str]) -> None:
    state, caller, now = database_state(request), caller_of(request), dt.datetime.now(dt.UTC)
    if not caller.is_admin:
        raise Problem(403, "the API key lacks the scope admin")
    with state.engine.begin() as connection:
        alert = existing_alert(connection, alert_id)
        try:
            if action == "acknowledge":
                note = AcknowledgeBody(note=form.get("note", "")).note
                state.alerts.acknowledge(connection, alert_id, now, caller.name, note)
            elif action == "mute":
                end = MuteBody.model_validate({"for": form.get("for", "")}).end(now)
                state.alerts.mute(connection, alert_id, now, end, caller.name)
            elif action == "accept":
                body = AcceptBody.model_validate({"what": form.get("what"), "note": form.get("note", "")})
                accept_alert(request, connection, alert, body.what, body.note, caller.name)
            elif action == "undo":
                undo_acceptance(connection, alert, caller.name)
            else:
                raise Problem(404, f"no action {action[:40]!r}")
        except ValidationError as error:
            raise Problem(422, first_error(error)) from None
        except ValueError as error:
            raise Problem(422, str(error)) from None
