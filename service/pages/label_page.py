"""The label desk: a page that shows the predictions to be labelled next, one after the other.

It works with its script, which answers without loading the page again, and without: each button is a form.
"""

import asyncio
import base64
import string
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from ..api.caller import caller_of
from ..api.endpoints.feedback import feedback_answer
from ..api.endpoints.labels import named_stream, queried_stream
from ..api.label_schemas import LabelDesk
from ..api.middleware.request_head import path_prefix
from ..api.problems import Problem, problem_of
from ..api.server_state import database_state, server_state
from ..errors import TidemarkError
from ..inference.thumbnails import MEDIA_TYPE
from ..serving import label_desk
from ..serving.feedback import FeedbackItem
from ..serving.label_desk import LoggedImage, RoundState
from ..store.label_rounds import LabelRequest
from .forms import check_token, new_token, read_form, set_token
from .rendering import render_page

PAGE_SIZE = 50  # predictions that one page holds
MAX_BUTTONS = 36  # classes up to which each has a button and a key
KEYS = (*"1234567890", *string.ascii_lowercase)  # keys of the classes in their order

router = APIRouter(tags=["pages"], include_in_schema=False)


@dataclass(frozen=True)
class ClassButton:
    """The button of a class, and the key that presses it."""

    name: str
    key: str


@dataclass(frozen=True)
class DeskItem:
    """A prediction to be labelled as the page shows it.

    Parameters
    ----------
    picture : str, optional
        Its image as a data URL, where one is stored.
    is_logged : bool
        Whether the prediction is still in the log.
    label : str, optional
        Its label, where it is to be changed.
    """

    id: UUID
    picture: str | None
    is_logged: bool
    tags: dict[str, str]
    label: str | None


@router.get("/label")
def desk(request: Request, stream: str, id: UUID | None = None) -> Response:
    """Show the predictions of a stream to be labelled next; `id` names a labelled one whose label is to be changed."""
    with database_state(request).engine.connect() as connection:
        try:
            row = queried_stream(request, connection, stream)
        except Problem as problem:
            if _wants_json(request):
                raise
            return render_page("missing.html", 404, detail=problem.detail)
        if _wants_json(request):
            return JSONResponse(LabelDesk.from_stream(connection, row, PAGE_SIZE).model_dump(mode="json"))
        state = label_desk.round_state(connection, row)
        requests = [] if state is None else _first(state, id)
        images = label_desk.logged_images(connection, [item.prediction_id for item in requests])
    token = new_token(request)
    response = render_page(
        "label.html",
        stream=row.stream,
        token=token,
        state=state,
        progress_text=progress_text,
        items=[_item(item, images.get(item.prediction_id), row.labels) for item in requests],
        buttons=class_buttons(row.labels),
        classes=row.labels,
        population=label_desk.POPULATION,
        min_population=label_desk.MIN_POPULATION,
    )
    set_token(request, response, token)
    return response


@router.post("/label/{action}")
async def act(action: str, request: Request) -> Response:
    """Carry out what a form of the page asks for; show the page again, or answer the page's script."""
    stream = ""
    try:
        form = await read_form(request)
        check_token(request, form)
        if not caller_of(request).may_label:
            raise Problem(403, "the API key lacks the scope feedback")
        stream = form.get("stream", "")
        progress = await asyncio.to_thread(_act, request, stream, action, form)
    except (Problem, TidemarkError) as error:
        problem = problem_of(error)
        if problem is None or _wants_json(request):
            raise
        back = {"back": f"/label?stream={quote(stream)}", "back_text": "Back to the images"}
        return render_page("problem.html", problem.status, detail=problem.detail, **back)
    if _wants_json(request):
        return JSONResponse(progress)
    return RedirectResponse(f"{path_prefix.get()}/label?stream={quote(stream)}", 303)


def class_buttons(classes: Sequence[str]) -> list[ClassButton]:
    """Return a button and a key for each class; none where there are too many classes for keys.

    The key of a class whose name is one letter or digit is that, if all names are.
    """
    if len(classes) > MAX_BUTTONS:
        return []
    names = [name.lower() for name in classes]
    is_valid = set(names) <= set(KEYS) and len(set(names)) == len(names)
    return [ClassButton(name, key) for name, key in zip(classes, names if is_valid else KEYS, strict=False)]


def _act(request: Request, stream: str, action: str, form: dict[str, str]) -> dict[str, str]:
    state = server_state(request)
    with state.engine.begin() as connection:
        row = named_stream(connection, stream)
        if action == "start":
            label_desk.start_round(connection, row, caller_of(request).name)
            return {}
        if action == "skip":
            try:
                label_desk.skip(connection, row, UUID(form.get("id", "")))
            except ValueError:
                raise Problem(422, "expected the id of a prediction") from None
    if action == "answer":
        answer = feedback_answer(state.feedback.record([FeedbackItem(form.get("id", ""), form.get("label", ""))]))
        if not answer.accepted:
            raise Problem(404, "the prediction is not in the log, so that its label cannot be stored")
    elif action != "skip":
        raise Problem(404, f"no action {action[:40]!r}")
    with state.engine.connect() as connection:
        current = label_desk.round_state(connection, row)
    return {"progress": "" if current is None else progress_text(current)}


def progress_text(state: RoundState) -> str:
    """Return in one sentence or two what the labels of a round have shown, and what more of them would."""
    measured = state.accuracy
    if measured is None:
        text = "No labels yet."
    else:
        count = f"{measured.labels} label{'s' if measured.labels != 1 else ''}"
        text = f"Accuracy {measured.accuracy:.1%} ({measured.low:.1%} to {measured.high:.1%}) on {count}."
    goals = [
        f"{target.labels}{' more' if measured else ''} label{'s' if target.labels != 1 else ''} for "
        f"± {100 * target.half_width:g} points"
        for target in state.targets
    ]
    if goals:
        text = f"{text} {', '.join(goals)}."
    if state.waiting:
        labels = f"{state.waiting} label{'s' if state.waiting != 1 else ''}"
        text = f"{text} {labels} that came another way will count once the images before are labelled."
    return text


def _first(state: RoundState, changed: UUID | None) -> list[LabelRequest]:
    """Return the predictions that the page shows: the one whose label is to be changed, and the next open ones."""
    labelled = [item for item in state.requests if item.prediction_id == changed and not item.is_open]
    return [*labelled, *state.open_requests][:PAGE_SIZE]


def _item(request: LabelRequest, image: LoggedImage | None, classes: Sequence[str]) -> DeskItem:
    picture = None
    if image is not None and image.thumbnail is not None:
        picture = f"data:{MEDIA_TYPE};base64,{base64.b64encode(image.thumbnail).decode()}"
    label = None if request.label is None else classes[request.label]
    return DeskItem(request.prediction_id, picture, image is not None, {} if image is None else image.tags, label)


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted
