"""Label rounds as the HTTP contract gives and takes them."""

import datetime as dt
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from ..serving import label_desk
from ..serving.label_desk import RoundState
from ..store.prediction_id import time_of
from ..store.streams import StreamRow


class RoundBody(BaseModel):
    """From how many of a stream's newest predictions how many are drawn."""

    stream: str = Field(max_length=1000, description="model:version[/tag=value], as `/drift` names it.")
    count: int = Field(label_desk.DRAWN, ge=label_desk.MIN_DRAWN, le=label_desk.MAX_DRAWN)
    population: int = Field(label_desk.POPULATION, ge=label_desk.MIN_POPULATION, le=label_desk.MAX_POPULATION)


class Round(BaseModel):
    """A population of predictions, of which some were drawn to be labelled."""

    id: int
    at: dt.datetime
    by: str
    since: dt.datetime = Field(description="Time of the earliest prediction of the population.")
    until: dt.datetime
    population: int
    requested: int = Field(description="Predictions that were drawn.")
    labelled: int
    waiting: int = Field(description="Labels that count once the requests before theirs are labelled or skipped.")
    skipped: int


class PopulationAccuracy(BaseModel):
    """The accuracy on the population, with its 95 % interval; unbiased, whatever the model's confidence is worth."""

    accuracy: float
    low: float
    high: float
    labels: int


class LabelTarget(BaseModel):
    """So many more labels make the interval of the accuracy +- `half_width` wide."""

    half_width: float
    labels: int


class RequestedLabel(BaseModel):
    """A prediction to be labelled."""

    id: UUID
    at: dt.datetime
    probability: float = Field(description="With which the prediction was drawn.")
    thumbnail: str | None = Field(description="Address of its image, where one is stored.")
    tags: dict[str, str]


class LabelDesk(BaseModel):
    """The newest round of a stream; `round` is null before the first."""

    stream: str
    classes: list[str]
    round: Round | None
    accuracy: PopulationAccuracy | None
    targets: list[LabelTarget]
    requests: list[RequestedLabel]

    @classmethod
    def from_stream(cls, connection: Connection, stream: StreamRow, limit: int) -> Self:
        """Return the newest round of a stream with the first of its open requests."""
        state = label_desk.round_state(connection, stream)
        if state is None:
            return cls(stream=stream.stream, classes=stream.labels, round=None, accuracy=None, targets=[], requests=[])
        requests = state.open_requests[:limit]
        images = label_desk.logged_images(connection, [item.prediction_id for item in requests])
        return cls(
            stream=stream.stream,
            classes=stream.labels,
            round=_round(state),
            accuracy=_accuracy(state),
            targets=[LabelTarget(half_width=item.half_width, labels=item.labels) for item in state.targets],
            requests=[
                RequestedLabel(
                    id=item.prediction_id,
                    at=time_of(item.prediction_id),
                    probability=item.probability,
                    thumbnail=None
                    if (image := images.get(item.prediction_id)) is None or image.thumbnail is None
                    else f"/predictions/{item.prediction_id}/thumbnail",
                    tags={} if image is None else image.tags,
                )
                for item in requests
            ],
        )


class SkipBody(BaseModel):
    stream: str = Field(max_length=1000)
    id: UUID


def _round(state: RoundState) -> Round:
    stored = state.label_round
    return Round(
        id=stored.id,
        at=stored.created_at,
        by=stored.requested_by,
        since=stored.since,
        until=stored.until,
        population=stored.population,
        requested=stored.requested,
        labelled=state.labelled,
        waiting=state.waiting,
        skipped=state.skipped,
    )


def _accuracy(state: RoundState) -> PopulationAccuracy | None:
    measured = state.accuracy
    if measured is None:
        return None
    return PopulationAccuracy(accuracy=measured.accuracy, low=measured.low, high=measured.high, labels=measured.labels)
