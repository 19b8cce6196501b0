"""True labels coming back, and the query of a logged prediction."""

from typing import Annotated, Any
from uuid import UUID

import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, FailFast, Field

from ...serving.feedback import FeedbackItem, FeedbackResult
from ...store import predictions
from ...store.logged import HALF
from ..bodies.json_text import parse_json, validate
from ..bodies.limits import body_of
from ..bodies.tags import value_text
from ..problems import Problem, documented
from ..server_state import State

MAX_ITEMS = 10_000
MAX_ID_LENGTH = 64  # characters
BODY_BYTES = 8_000_000  # bytes of a request with the most items and the longest labels

router = APIRouter(tags=["predictions"])


def _label_text(value: Any) -> str:
    text = value_text(value)
    if text is None:
        raise ValueError("a label is a string or a number")
    return text[:256]


class FeedbackItemBody(BaseModel):
    id: Annotated[str, Field(max_length=MAX_ID_LENGTH)]
    label: Annotated[str, BeforeValidator(_label_text)]


class FeedbackBody(BaseModel):
    items: Annotated[list[FeedbackItemBody], FailFast(), Field(min_length=1, max_length=MAX_ITEMS)]


class RejectedLabel(BaseModel):
    id: str
    label: str
    reason: str


class FeedbackAnswer(BaseModel):
    accepted: int
    unknown: list[str]
    rejected: list[RejectedLabel]


class CorrectedAnswer(BaseModel):
    """The answer, where answers are corrected for other class proportions."""

    label: str
    confidence: float


class LoggedAnswer(BaseModel):
    id: str
    at: str
    model: dict[str, str]
    label: str
    confidence: float
    corrected: CorrectedAnswer | None
    tags: dict[str, str]
    feedback: str | None


BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["items"],
                "properties": {
                    "items": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MAX_ITEMS,
                        "items": {
                            "type": "object",
                            "required": ["id", "label"],
                            "properties": {
                                "id": {"type": "string", "maxLength": MAX_ID_LENGTH, "description": "of a prediction"},
                                "label": {"type": ["string", "number"]},
                            },
                        },
                    }
                },
            }
        }
    },
}


@router.post(
    "/feedback",
    status_code=202,
    summary="Send true labels back",
    responses=documented(400, 408, 413, 415, 422, 503),
    openapi_extra={"requestBody": BODY},
)
async def post_feedback(request: Request, state: State) -> FeedbackAnswer:
    """Store the true labels of logged predictions; a repeat overwrites, also within a request.

    Labels that a prediction's model does not have, and ids that are not UUIDs, are listed as `rejected`; the other
    items are stored. If all items are rejected the status is 422.
    """
    data = await request.body()
    body = await state.parsers.run(len(data), lambda: validate(FeedbackBody, parse_json(data, body_of(request))))
    items = [FeedbackItem(item.id, item.label) for item in body.items]
    return feedback_answer(await anyio.to_thread.run_sync(state.feedback.record, items))


def feedback_answer(result: FeedbackResult) -> FeedbackAnswer:
    """Return what became of labels as clients read it.

    Raises
    ------
    Problem
        422 where all of them were rejected.
    """
    rejected = [RejectedLabel(**item._asdict()) for item in result.rejected]
    if rejected and not result.accepted and not result.unknown:
        first = rejected[0]
        raise Problem(
            422,
            f"no label was stored: {first.label!r} for {first.id}: {first.reason}",
            members={"accepted": 0, "unknown": [], "rejected": [item.model_dump() for item in rejected]},
        )
    return FeedbackAnswer(accepted=result.accepted, unknown=result.unknown, rejected=rejected)


@router.get("/predictions/{prediction_id}", summary="A logged prediction", responses=documented(404, 422, 503))
def get_prediction(prediction_id: UUID, state: State) -> LoggedAnswer:
    """Return a prediction once it is in Postgres."""
    with state.engine.connect() as connection:
        row = predictions.get(connection, prediction_id)
    if row is None:
        raise Problem(404, f"no prediction {prediction_id} in the database (yet)")
    return LoggedAnswer(
        id=str(row.id),
        at=row.at.isoformat(),
        model={"name": row.model_name, "version": row.model_version},
        label=row.labels[row.label],
        confidence=row.confidence,
        corrected=None if row.corrected is None else _corrected(row.labels, row.corrected),
        tags=row.tags,
        feedback=None if row.feedback is None else row.labels[row.feedback],
    )


def _corrected(labels: list[str], data: bytes) -> CorrectedAnswer:
    probabilities = np.frombuffer(data, HALF)
    index = int(probabilities.argmax())
    return CorrectedAnswer(label=labels[index], confidence=float(probabilities[index]))
