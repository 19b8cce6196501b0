"""Predictions that were drawn to be labelled."""

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from .base import created_at, metadata

label_rounds = Table(  # a population of predictions from which some were drawn to be labelled
    "label_rounds",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("stream_id", Integer, ForeignKey("streams.id", ondelete="CASCADE"), nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),  # time of the population's earliest prediction
    Column("until", DateTime(timezone=True), nullable=False),  # time of its latest prediction
    Column("population", Integer, nullable=False),  # number of predictions
    Column("requested", Integer, nullable=False),  # number of those that were drawn
    Column("mean_confidence", Double, nullable=False),  # over the population, calibrated
    Column("label_variance", Double, nullable=False),  # expected variance of the accuracy × labels
    Column("requested_by", Text, nullable=False),
    created_at(),
)
Index("ix_label_rounds_stream_id_id", label_rounds.c.stream_id, label_rounds.c.id)

label_requests = Table(  # the predictions that were drawn, in the random order in which they are to be labelled
    "label_requests",
    metadata,
    Column("round_id", Integer, ForeignKey("label_rounds.id", ondelete="CASCADE"), nullable=False),
    Column("place", Integer, nullable=False),
    Column("prediction_id", UUID(as_uuid=True), nullable=False),
    Column("probability", Double, nullable=False),  # probability with which it was drawn
    Column("confidence", Double, nullable=False),  # calibrated probability of the predicted class
    Column("skipped", Boolean, nullable=False, server_default=text("false")),  # a person cannot decide its class
    PrimaryKeyConstraint("round_id", "place"),
)
