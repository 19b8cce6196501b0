"""What was found in streams, and what was sent about it."""

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from .base import created_at, metadata

windows = Table(
    "windows",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("stream_id", Integer, ForeignKey("streams.id"), nullable=False),
    Column("start", DateTime(timezone=True), nullable=False),
    Column("end", DateTime(timezone=True), nullable=False),
    Column("first", BigInteger, nullable=False),  # position of its first prediction in the stream
    Column("size", Integer, nullable=False),
    Column("p_value", Double, nullable=False),
    Column("drifted", Boolean, nullable=False),
    Column("kind", Text, nullable=False),
    Column("evidence", Double, nullable=True),
    Column("threshold", Double, nullable=True),
    Column("seconds", REAL, nullable=False),  # time to evaluate
    Column("report", JSONB, nullable=False),
    created_at(),
    UniqueConstraint("stream_id", "first", "size"),
)
Index("ix_windows_stream_id_id", windows.c.stream_id, windows.c.id)

alerts = Table(
    "alerts",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("stream_id", Integer, ForeignKey("streams.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("fired_at", DateTime(timezone=True), nullable=False),
    Column("resolved_at", DateTime(timezone=True), nullable=True),
    Column("position", BigInteger, nullable=False),  # predictions of the stream when it fired
    Column("window_id", BigInteger, ForeignKey("windows.id"), nullable=True),
    Column("p_value", Double, nullable=False),
    Column("summary", Text, nullable=False),
    Column("report", JSONB, nullable=False),
    Column("severity", Text, nullable=False, server_default="ticket"),
    Column("certainty", Text, nullable=False, server_default="sure"),  # certainty of the kind
    Column("sequence", Integer, nullable=False, server_default="0"),  # number of the incident's last event
    Column("resolution", Text, nullable=True),
    Column("reopened", Integer, nullable=False, server_default="0"),  # times that the incident came back
    Column("acknowledged_at", DateTime(timezone=True), nullable=True),
    Column("acknowledged_by", Text, nullable=True),
    Column("acknowledged_note", Text, nullable=True),
    Column("muted_until", DateTime(timezone=True), nullable=True),
    Column("muted_by", Text, nullable=True),
    Column(  # the alert of the whole model that a slice's alert is part of
        "parent_id", UUID(as_uuid=True), ForeignKey("alerts.id", ondelete="SET NULL"), nullable=True
    ),
    Column("history", JSONB, nullable=False, server_default=text("'[]'::jsonb")),  # events of the incident
    CheckConstraint("state IN ('firing', 'resolved')", name="state"),
    CheckConstraint("severity IN ('ticket', 'page')", name="severity"),
    CheckConstraint("certainty IN ('likely', 'sure')", name="certainty"),
    CheckConstraint("resolution IN ('recovered', 'accepted', 'retired')", name="resolution"),
)
Index("ix_alerts_fired_at", alerts.c.fired_at)
Index("ix_alerts_parent_id", alerts.c.parent_id, postgresql_where=alerts.c.parent_id.is_not(None))
Index(
    "uq_alerts_firing",
    alerts.c.stream_id,
    alerts.c.kind,
    unique=True,
    postgresql_where=text("state = 'firing'"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),  # the webhook-id, the same for every attempt
    Column("alert_id", UUID(as_uuid=True), ForeignKey("alerts.id"), nullable=True),  # none of a test event
    Column("event", Text, nullable=False),  # drift.firing, drift.changed, drift.resolved or test
    Column("url", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("body", Text, nullable=False),  # the bytes that are signed and sent
    Column("outcome", Text, nullable=False, server_default="pending"),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    Column("last_status", SmallInteger, nullable=True),
    Column("last_error", Text, nullable=True),
    Column("delivered_at", DateTime(timezone=True), nullable=True),
    Column("give_up_at", DateTime(timezone=True), nullable=False),
    created_at(),
    Column("sequence", Integer, nullable=False, server_default="0"),  # number of the event in its incident
    CheckConstraint("outcome IN ('pending', 'delivered', 'failed', 'superseded', 'muted')", name="outcome"),
)
Index("ix_deliveries_alert_id", deliveries.c.alert_id)
