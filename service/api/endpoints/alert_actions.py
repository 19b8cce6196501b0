"""What people do about alerts: try receivers out, acknowledge, mute, accept."""

import datetime as dt
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Connection

from ...alerts import acceptance
from ...alerts.schemas import Alert
from ...durations import parse_duration
from ...errors import NotAcceptable
from ...store import alerts, deliveries, streams
from ...store.alerts import AlertRow
from ...store.baselines import AcceptedPart
from ..caller import Caller, caller_of
from ..problems import Problem, documented
from ..server_state import database_state

MAX_NOTE = 2_000  # characters of a person's note
MAX_MUTE = dt.timedelta(days=90)  # longest mute; a longer one is refused as a mistake

router = APIRouter(tags=["alerts"])

Note = Annotated[str, Field(max_length=MAX_NOTE, pattern=r"^[^\x00]*$")]
By = Annotated[Caller, Depends(caller_of)]


class TestStarted(BaseModel):
    receivers: int = Field(description="Receivers to which a test event is being sent.")


class AcknowledgeBody(BaseModel):
    note: Note = ""


class MuteBody(BaseModel):
    """The duration of a mute: `for` a duration such as `2h`, or `until` a time. `{"for": "0s"}` ends a mute."""

    model_config = ConfigDict(populate_by_name=True)

    duration: str | None = Field(None, alias="for", max_length=20)
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "MuteBody":
        if (self.duration is None) == (self.until is None):
            raise ValueError("either `for` (a duration such as 2h) or `until` (a time with its offset) is needed")
        return self

    def end(self, now: dt.datetime) -> dt.datetime:
        """Return the end of the mute.

        Raises
        ------
        ValueError
            The duration cannot be read, or the end is too far in the future.
        """
        end = self.until or now
        if self.duration is not None:
            end = now + min(parse_duration(self.duration), 2 * MAX_MUTE)
        if end > now + MAX_MUTE:
            raise ValueError(
                f"an alert is muted for at most {MAX_MUTE.days} days: accept the change, or retire the stream"
            )
        return end


class AcceptBody(BaseModel):
    """The part of the traffic that becomes normal: the mix of classes, the images, or all of it."""

    what: AcceptedPart = "all"
    note: Note = ""


@router.post("/alerts/test", status_code=202, summary="Try the receivers out", responses=documented(403, 409, 503))
def post_test(request: Request, by: By) -> TestStarted:
    """Send a signed event of type `test` to every receiver."""
    state = database_state(request)
    if not state.settings.webhook_urls:
        raise Problem(409, "no receiver is configured: set TIDEMARK_WEBHOOK_URLS for servers and monitors")
    with state.engine.begin() as connection:
        return TestStarted(receivers=state.alerts.test(connection, dt.datetime.now(dt.UTC), by.name))


@router.post("/alerts/{alert_id}/acknowledge", summary="Acknowledge an alert", responses=documented(403, 404, 422, 503))
def acknowledge(alert_id: UUID, request: Request, by: By, body: AcknowledgeBody | None = None) -> Alert:
    """Record that somebody takes care of an alert; Alertmanager keeps it and notifies nobody of it again."""
    with database_state(request).engine.begin() as connection:
        existing_alert(connection, alert_id)
        note = body.note if body else ""
        database_state(request).alerts.acknowledge(connection, alert_id, dt.datetime.now(dt.UTC), by.name, note)
        return alert_answer(request, connection, alert_id)


@router.post("/alerts/{alert_id}/mute", summary="Mute an alert", responses=documented(403, 404, 422, 503))
def mute(alert_id: UUID, body: MuteBody, request: Request, by: By) -> Alert:
    """Hold back the events of an incident, except its end and a rise of its severity; the stream is still watched."""
    now = dt.datetime.now(dt.UTC)
    try:
        end = body.end(now)
    except ValueError as error:
        raise Problem(422, str(error)) from None
    with database_state(request).engine.begin() as connection:
        existing_alert(connection, alert_id)
        database_state(request).alerts.mute(connection, alert_id, now, end, by.name)
        return alert_answer(request, connection, alert_id)


@router.post("/alerts/{alert_id}/accept", summary="Accept a change", responses=documented(403, 404, 409, 422, 503))
def accept(alert_id: UUID, request: Request, by: By, body: AcceptBody | None = None) -> Alert:
    """Make the traffic since the change the stream's baseline; every open incident of the stream ends as accepted."""
    body = body or AcceptBody()
    with database_state(request).engine.begin() as connection:
        accept_alert(request, connection, existing_alert(connection, alert_id), body.what, body.note, by.name)
        return alert_answer(request, connection, alert_id)


@router.delete("/alerts/{alert_id}/accept", summary="Undo an acceptance", responses=documented(403, 404, 409, 422, 503))
def undo_accept(alert_id: UUID, request: Request, by: By) -> Alert:
    """Compare the alert's stream again with the baseline before its current one, else with its reference."""
    with database_state(request).engine.begin() as connection:
        undo_acceptance(connection, existing_alert(connection, alert_id), by.name)
        return alert_answer(request, connection, alert_id)


def existing_alert(connection: Connection, alert_id: UUID) -> AlertRow:
    """Return an alert.

    Raises
    ------
    Problem
        404 where there is none.
    """
    row = alerts.get(connection, alert_id)
    if row is None:
        raise Problem(404, f"no alert {alert_id}")
    return row


def accept_alert(
    request: Request, connection: Connection, alert: AlertRow, what: AcceptedPart, note: str, by: str
) -> None:
    """Accept the traffic since the change that an alert is about.

    Raises
    ------
    Problem
        409 where the alert no longer fires, or its traffic is too little.
    """
    now = dt.datetime.now(dt.UTC)
    if alert.state != "firing":
        raise Problem(409, f"the alert is resolved ({alert.resolution}): there is no change to accept")
    stream = streams.get(connection, alert.stream_id)
    span = acceptance.start_of_change(alert), now
    try:
        acceptance.accept(connection, database_state(request).alerts, stream, what, span, by=by, note=note, at=now)
    except NotAcceptable as error:
        raise Problem(409, str(error)) from None


def undo_acceptance(connection: Connection, alert: AlertRow, by: str) -> None:
    """Undo the current baseline of an alert's stream.

    Raises
    ------
    Problem
        409 where the stream has none.
    """
    stream = streams.get(connection, alert.stream_id)
    try:
        acceptance.undo(connection, stream, by, dt.datetime.now(dt.UTC))
    except NotAcceptable as error:
        raise Problem(409, str(error)) from None


def alert_answer(request: Request, connection: Connection, alert_id: UUID) -> Alert:
    """Return an alert as clients read it."""
    row = existing_alert(connection, alert_id)
    sent = deliveries.of_alerts(connection, [alert_id])
    return Alert.with_deliveries(row, sent, database_state(request).settings.public_url, dt.datetime.now(dt.UTC))
