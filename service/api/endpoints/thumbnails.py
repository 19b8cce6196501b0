"""Small pictures of logged and of reference images, where they are kept."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Response

from ...inference.thumbnails import MEDIA_TYPE
from ...store import predictions, references
from ..problems import Problem, documented
from ..server_state import State

HEADERS = {"Cache-Control": "private, max-age=86400, immutable"}

router = APIRouter(tags=["thumbnails"])
RESPONSES: dict[int | str, dict[str, Any]] = {
    **documented(404, 422, 503),
    200: {"description": "A picture of at most 64 x 64", "content": {MEDIA_TYPE: {}}},
}
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]


@router.get(
    "/predictions/{prediction_id}/thumbnail",
    summary="A logged image, small",
    response_class=Response,
    responses=RESPONSES,
)
def get_prediction_thumbnail(prediction_id: UUID, state: State) -> Response:
    """Return what the model saw, at most 64 x 64, if TIDEMARK_THUMBNAILS was on."""
    with state.engine.connect() as connection:
        row = predictions.get(connection, prediction_id)
    return _image(None if row is None else row.thumbnail, f"prediction {prediction_id}")


@router.get(
    "/references/{reference_id}/thumbnails/{row}",
    summary="A reference image, small",
    response_class=Response,
    responses=RESPONSES,
)
def get_reference_thumbnail(reference_id: Number, row: Number, state: State) -> Response:
    """Return an image that `tidemark reference build --thumbnails` kept."""
    with state.engine.connect() as connection:
        images = references.load_thumbnails(connection, reference_id)
    return _image(images.get(row), f"row {row} of reference {reference_id}")


def _image(content: bytes | None, of: str) -> Response:
    if content is None:
        raise Problem(404, f"no thumbnail of {of} is kept")
    return Response(content, media_type=MEDIA_TYPE, headers=HEADERS)
