"""Label rounds over HTTP: which predictions to label next, and the accuracy that their labels show."""

from typing import Annotated, Literal

import anyio.to_thread
import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import Connection

from ...serving import label_desk, label_files
from ...serving.feedback import FeedbackItem
from ...store import streams
from ...store.prediction_id import time_of
from ...store.streams import StreamRow
from ..bodies.json_text import parse_json
from ..bodies.limits import body_of
from ..caller import Caller, caller_of
from ..label_schemas import LabelDesk, RoundBody, SkipBody
from ..problems import Problem, documented
from ..query_names import names_in_query
from ..server_state import State, database_state
from .feedback import MAX_ITEMS, FeedbackAnswer, feedback_answer

IMPORT_BYTES = 16_000_000  # bytes of an imported file: Label Studio's holds the image of each task
CSV, JSON = "text/csv", "application/json"

router = APIRouter(tags=["labels"])

By = Annotated[Caller, Depends(caller_of)]


@router.post(
    "/labels/rounds",
    status_code=201,
    summary="Draw predictions to be labelled",
    responses=documented(404, 409, 422, 503),
)
def post_round(body: RoundBody, request: Request, by: By) -> LabelDesk:
    """Draw predictions among the newest of a stream, each with a known probability that grows with the uncertainty.

    They come in random order: the labels of the first ones measure the accuracy without bias, as many as there are.
    """
    with database_state(request).engine.begin() as connection:
        stream = named_stream(connection, body.stream)
        label_desk.start_round(connection, stream, by.name, body.count, body.population)
        return LabelDesk.from_stream(connection, stream, label_desk.MAX_DRAWN)


@router.get("/labels/next", summary="Predictions to be labelled next", responses=documented(404, 422, 503))
def get_next(
    request: Request, stream: str, limit: Annotated[int, Query(ge=1, le=label_desk.MAX_DRAWN)] = 50
) -> LabelDesk:
    """Return the open requests of a stream's newest round, the accuracy so far, and what more labels would give."""
    with database_state(request).engine.connect() as connection:
        return LabelDesk.from_stream(connection, queried_stream(request, connection, stream), limit)


@router.post("/labels/skip", status_code=204, summary="Skip a requested label", responses=documented(404, 422, 503))
def post_skip(body: SkipBody, request: Request) -> None:
    """Record that a person cannot decide the class of a prediction of the stream's newest round."""
    with database_state(request).engine.begin() as connection:
        if not label_desk.skip(connection, named_stream(connection, body.stream), body.id):
            raise Problem(404, f"the newest label round of {body.stream} does not wait for a label of {body.id}")


@router.get(
    "/labels/export",
    summary="The open requests as a file",
    response_class=Response,
    responses={
        **documented(404, 409, 422, 503),
        200: {"description": "A file", "content": {CSV: {}, JSON: {}, "application/xml": {}}},
    },
)
def get_export(
    request: Request, stream: str, format: Literal["csv", "label-studio", "label-studio-interface"] = "csv"
) -> Response:
    """Return the open requests as CSV with an empty column `label`, or as tasks of Label Studio with their images."""
    with database_state(request).engine.connect() as connection:
        row = queried_stream(request, connection, stream)
        if format == "label-studio-interface":
            return _file(label_files.labelling_interface(row.labels), "application/xml", "label-studio.xml")
        state = label_desk.round_state(connection, row)
        requests = [] if state is None else state.open_requests
        if format == "csv":
            times = {item.prediction_id: time_of(item.prediction_id).isoformat() for item in requests}
            return _file(label_files.to_csv(requests, times), CSV, "labels.csv")
        images = label_desk.logged_images(connection, [item.prediction_id for item in requests])
    tasks = label_files.to_label_studio(requests, images)
    if requests and not tasks:
        raise Problem(409, "no image is stored of these predictions (TIDEMARK_THUMBNAILS was off): use format=csv")
    return _file(orjson.dumps(tasks).decode(), JSON, "label-studio.json")


IMPORT = {
    "required": True,
    "content": {
        CSV: {"schema": {"type": "string"}},
        JSON: {"schema": {"type": "array", "items": {"type": "object"}}},
    },
}


@router.post(
    "/labels/import",
    status_code=202,
    summary="Send labels back as a file",
    responses=documented(400, 408, 413, 415, 422, 503),
    openapi_extra={"requestBody": IMPORT},
)
async def post_import(request: Request, state: State) -> FeedbackAnswer:
    """Store the labels of a CSV file with the columns `id` and `label`, or of Label Studio's export (JSON, JSON-MIN).

    The answer is that of `/feedback`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (CSV, JSON):
        raise Problem(415, f"expected {CSV} or {JSON}, got {kind[:100] or 'no content type'}")
    data = await request.body()

    def read() -> list[FeedbackItem]:
        try:
            if kind == CSV:
                body_of(request).reserve(len(data))
                return label_files.from_csv(data)
            return label_files.from_label_studio(parse_json(data, body_of(request)))
        except ValueError as error:
            raise Problem(422, str(error)[:300]) from None

    items = await state.parsers.run(len(data), read)
    if len(items) > MAX_ITEMS:
        raise Problem(413, f"a file has at most {MAX_ITEMS} labels, this one has {len(items)}")
    return feedback_answer(await anyio.to_thread.run_sync(state.feedback.record, items))


def named_stream(connection: Connection, name: str) -> StreamRow:
    """Return a stream.

    Raises
    ------
    Problem
        404 where there is none of that name.
    """
    row = streams.find(connection, name)
    if row is None:
        raise Problem(404, f"no stream {name[:200]!r}")
    return row


def queried_stream(request: Request, connection: Connection, name: str) -> StreamRow:
    """Return the stream that the query of a request names.

    Raises
    ------
    Problem
        404 where there is none of that name.
    """
    for reading in names_in_query(request, "stream"):
        if (row := streams.find(connection, reading)) is not None:
            return row
    return named_stream(connection, name)


def _file(content: str, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type=media_type, headers=headers)
