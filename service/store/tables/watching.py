"""What streams are compared with, how far they are watched, and by which monitor."""

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from .base import XID8, created_at, metadata

references = Table(
    "references",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("model_id", Integer, ForeignKey("models.id"), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("arrays", LargeBinary, nullable=False),  # npz
    Column("calibration", LargeBinary, nullable=True),  # npz of the detector's calibration, per run time and seed
    Column("thumbnails", LargeBinary, nullable=True),
    Column("survival", JSONB, nullable=True),  # accuracy under rehearsed operations, a `SurvivalJson`
    created_at(),
)

streams = Table(
    "streams",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("model_id", Integer, ForeignKey("models.id"), nullable=False),
    Column("slice", Text, nullable=False, server_default=""),
    Column("reference_id", Integer, ForeignKey("references.id"), nullable=True),
    Column("state", Text, nullable=False, server_default="warming_up"),
    Column("kind", Text, nullable=False, server_default="none"),
    Column("since", DateTime(timezone=True), nullable=True),
    Column("seen", BigInteger, nullable=False, server_default="0"),  # predictions given to the detector
    Column("tested", BigInteger, nullable=False, server_default="0"),  # predictions up to the end of the last window
    Column("window_start", BigInteger, nullable=False, server_default="0"),  # predictions before the next window
    # The six columns of transaction ids were written by releases before migration 0006, and are no longer read.
    Column("cursor_xid", XID8(), nullable=False, server_default="0"),
    Column("cursor_seq", BigInteger, nullable=False, server_default="0"),
    Column("window_xid", XID8(), nullable=False, server_default="0"),
    Column("window_seq", BigInteger, nullable=False, server_default="0"),
    Column("feedback_xid", XID8(), nullable=False, server_default="0"),
    Column("feedback_seq", BigInteger, nullable=False, server_default="0"),
    Column("calm_windows", Integer, nullable=False, server_default="0"),
    Column("detector", LargeBinary, nullable=True),  # npz
    Column("concept", LargeBinary, nullable=True),  # npz
    Column("status", JSONB, nullable=False, server_default=text("'{}'::jsonb")),  # a `StreamStatus`
    Column("last_success_at", DateTime(timezone=True), nullable=True),
    Column("last_window_at", DateTime(timezone=True), nullable=True),
    Column("window_requested_at", DateTime(timezone=True), nullable=True),  # until the requested window is stored
    Column("tag_counts", JSONB, nullable=True),  # the most frequent values of each tag; of the whole model's stream
    Column("retired_at", DateTime(timezone=True), nullable=True),  # when it was retired: it is no longer watched
    Column("position", BigInteger, nullable=False, server_default="0"),  # last prediction watched
    Column("label_position", BigInteger, nullable=False, server_default="0"),  # last label watched
    Column("window_position", BigInteger, nullable=False, server_default="0"),  # last one before the next window
    Column("lease_owner", UUID(as_uuid=True), nullable=True),  # the monitor that watches the stream
    Column("lease_until", DateTime(timezone=True), nullable=True),
    Column("blind_reason", Text, nullable=True),  # why the stream is not watched; NULL: it is
    Column("rejected", JSONB, nullable=False, server_default=text("'{}'::jsonb")),  # predictions skipped, by reason
    UniqueConstraint("model_id", "slice"),
    CheckConstraint("state IN ('warming_up', 'calm', 'drifting')", name="state"),
)

monitors = Table(  # the monitors that work now
    "monitors",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("name", Text, nullable=False),  # host and process
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("heartbeat_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

checkpoints = Table(  # the state of a stream's detectors at a position, from which the log is replayed
    "checkpoints",
    metadata,
    Column("stream_id", Integer, ForeignKey("streams.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("label_position", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),  # npz
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

evidence_points = Table(  # the evidence of a stream over time, for charts
    "evidence_points",
    metadata,
    Column("stream_id", Integer, ForeignKey("streams.id", ondelete="CASCADE"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("evidence", Double, nullable=False),  # nats
    Column("threshold", Double, nullable=True),  # nats
    PrimaryKeyConstraint("stream_id", "position"),
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("stream_id", Integer, ForeignKey("streams.id"), nullable=False),
    Column("reference_id", Integer, ForeignKey("references.id"), nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("design_effect", REAL, nullable=False),  # predictions that count as one independent prediction
    Column("calm", LargeBinary, nullable=False),  # npz of the traffic that was declared calm
    Column("calibration", LargeBinary, nullable=False),  # npz of the detector's calibration on it
    created_at(),
)
Index("ix_calibrations_stream_id", calibrations.c.stream_id, calibrations.c.reference_id, calibrations.c.id)

baselines = Table(  # traffic that was accepted as normal
    "baselines",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("stream_id", Integer, ForeignKey("streams.id"), nullable=False),
    Column("reference_id", Integer, ForeignKey("references.id"), nullable=False),
    Column("what", Text, nullable=False),  # part of the change that was accepted
    Column("since", DateTime(timezone=True), nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("arrays", LargeBinary, nullable=False),  # npz of the accepted traffic in its own order
    Column("calibration", LargeBinary, nullable=True),  # npz of the detector's calibration against the baseline
    Column("accepted_by", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("undone_at", DateTime(timezone=True), nullable=True),
    Column("undone_by", Text, nullable=True),
    created_at(),
    CheckConstraint("what IN ('mix', 'images', 'all')", name="what"),
)
Index("ix_baselines_stream_id_id", baselines.c.stream_id, baselines.c.id)

self_tests = Table(  # the last self-test of the detector of each reference
    "self_tests",
    metadata,
    Column("reference_id", Integer, ForeignKey("references.id", ondelete="CASCADE"), primary_key=True),
    Column("ran_at", DateTime(timezone=True), nullable=False),
    Column("succeeded_at", DateTime(timezone=True), nullable=True),
    Column("delay", Integer, nullable=True),  # predictions from the planted shift to the alarm, where there was one
    Column("reason", Text, nullable=True),  # reason of a failure
)
