"""True labels coming back, and the look-up of a logged prediction."""

from collections import Counter
from typing import Annotated, Any
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from ...spool import search
from ...store import feedback, models, predictions
from ...store.feedback import Predicted
from ...store.logged import HALF
from ..problems import Problem, documented

router = APIRouter(tags=["predictions"])


class FeedbackItem(BaseModel):
    id: UUID
    label: Annotated[str, Field(max_length=256)]


class FeedbackBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    items: list[FeedbackItem] = Field(min_length=1, max_length=10_000)


class FeedbackAnswer(BaseModel):
    accepted: int
    unknown: list[str]


class CorrectedAnswer(BaseModel):
    """What was answered, where answers are corrected for other class proportions."""

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


@router.post("/feedback", status_code=202, summary="Send true labels back", responses=documented(400, 422, 503))
def post_feedback(body: FeedbackBody, request: Request) -> FeedbackAnswer:
    """Store the true labels of logged predictions; a repeat overwrites."""
    state = request.app.state
    wanted = {item.id: item.label for item in body.items}
    with state.engine.begin() as connection:
        foreign = sorted(set(wanted.values()) - models.labels(connection))
        if foreign:
            raise Problem(422, f"no model has the label {foreign[0]!r}")
        known = feedback.find(connection, list(wanted))
        missing = [key for key in wanted if key not in known]
        if missing:
            known |= _spooled(state, missing)
        rows = []
        shadowed = _shadowed(state, connection, {key: wanted[key] for key in known})
        for key, predicted in known.items():
            if wanted[key] not in predicted.labels:
                raise Problem(422, f"the model of prediction {key} has no label {wanted[key]!r}")
            rows.append(_row(key, predicted, wanted[key]))
        accepted = len(rows)
        rows += [_row(key, predicted, label) for key, predicted, label in shadowed]
        if rows:
            feedback.save(connection, rows)
        names = {key: name for name, key in models.ids(connection).items()}
    for model_id, count in Counter(row["model_id"] for row in rows).items():
        state.metrics.fed_back(names[model_id], count)
    return FeedbackAnswer(accepted=accepted, unknown=[str(key) for key in wanted if key not in known])


@router.get("/predictions/{prediction_id}", summary="A logged prediction", responses=documented(404, 422, 503))
def get_prediction(prediction_id: UUID, request: Request) -> LoggedAnswer:
    """Return a prediction once it is in Postgres."""
    with request.app.state.engine.connect() as connection:
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


def _row(key: UUID, predicted: Predicted, label: str) -> dict[str, Any]:
    return {
        "prediction_id": key,
        "model_id": predicted.model_id,
        "label": predicted.labels.index(label),
        "predicted": predicted.predicted,
        "probabilities": predicted.probabilities,
    }


def _shadowed(state: Any, connection: Connection, labels: dict[UUID, str]) -> list[tuple[UUID, Predicted, str]]:
    """Return what the models in shadow predicted for the images of labelled predictions, where they know the label."""
    found = []
    for shadow in state.models.shadows:
        wanted = {shadow.id_of(key): label for key, label in labels.items()}
        known = feedback.find(connection, list(wanted))
        known |= _spooled(state, [key for key in wanted if key not in known])
        found += [(key, row, wanted[key]) for key, row in known.items() if wanted[key] in row.labels]
    return found


def _spooled(state: Any, ids: list[UUID]) -> dict[UUID, Predicted]:
    """Return predictions that are acknowledged but not yet in Postgres."""
    found = search.find(state.spool.path.parent, ids)
    served = {model.name: model for model in state.models.all}
    return {
        key: Predicted(served[row.model].model_id, list(served[row.model].bundle.labels), row.label, row.probabilities)
        for key, row in found.items()
        if row.model in served
    }
