"""The tables. Postgres only: partitions, bytea and jsonb are used as they are there."""

from typing import Any
from uuid import UUID as UUIDValue

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
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

SWEEP_SPOOL = UUIDValue(int=0)  # of the writers that number the rows of servers of an earlier version

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class XID8(UserDefinedType[str]):
    """A transaction id that never wraps (Postgres 13 and newer); travels as decimal text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


ischema_names["xid8"] = XID8  # so that reflection knows it, too


def _now() -> Column[Any]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


models = Table(
    "models",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("labels", JSONB, nullable=False),
    _now(),
    Column("embedding_size", Integer, nullable=True),  # where it is served elsewhere: of its first embedding
    UniqueConstraint("name", "version"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", UUID(as_uuid=True), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),  # the time inside the UUIDv7
    Column("model_id", Integer, nullable=False),
    Column("label", Integer, nullable=False),
    Column("confidence", REAL, nullable=False),
    Column("probabilities", LargeBinary, nullable=False),  # little-endian float16 (k,)
    Column("embedding", LargeBinary, nullable=False),  # little-endian float16 (d,)
    Column("properties", LargeBinary, nullable=True),  # little-endian float32 (p,)
    Column("tags", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("xid", XID8(), nullable=True),  # unused since revision 0006
    # Unique among the rows of a writer; of a row without a writer, the order in which it came.
    Column("number", BigInteger, nullable=False, server_default=text("nextval('prediction_seq')")),
    Column("corrected", LargeBinary, nullable=True),  # little-endian float16 (k,), at other class proportions
    Column("thumbnail", LargeBinary, nullable=True),  # an encoded image
    # Which writer numbered the row; NULL in a row of a server of an earlier version, until the sweep numbers it.
    Column("writer_id", Integer, nullable=True),
    PrimaryKeyConstraint("id", "at"),
    postgresql_partition_by="RANGE (at)",
)
Index("ix_predictions_number", predictions.c.model_id, predictions.c.writer_id, predictions.c.number)
Index(
    "ix_predictions_unplaced",
    predictions.c.model_id,
    predictions.c.number,
    postgresql_where=predictions.c.writer_id.is_(None),
)

installation = Table(  # one row: which installation this database belongs to, also after a restore or a move
    "installation",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, server_default="1"),
    Column("identity", UUID(as_uuid=True), nullable=False, server_default=func.gen_random_uuid()),
    _now(),
    CheckConstraint("id = 1", name="single"),
)

writers = Table(  # the rows of one model in one spool file, numbered without gaps
    "writers",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("spool", UUID(as_uuid=True), nullable=False),  # the identity inside the spool file
    Column("model_id", Integer, ForeignKey("models.id"), nullable=False),
    Column("pending", BigInteger, nullable=False, server_default="0"),  # rows that the spool held at `written_at`
    Column("written_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _now(),
    UniqueConstraint("spool", "model_id"),
)

log_ends = Table(  # a view: the last position of each model's log of predictions, and of its log of labels
    "log_ends",
    MetaData(),
    Column("model_id", Integer, nullable=False),
    Column("log", Text, nullable=False),  # predictions or labels
    Column("position", BigInteger, nullable=False),  # 0 where nothing was logged
    Column("at", DateTime(timezone=True), nullable=True),
)

segments = Table(  # consecutive positions of a model that are consecutive numbers of a writer
    "segments",
    metadata,
    Column("model_id", Integer, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("first_number", BigInteger, nullable=False),  # of the row at `first_position`
    Column("writer_id", Integer, nullable=False),
    Column("at_from", DateTime(timezone=True), nullable=False),  # time of its earliest prediction
    Column("at_to", DateTime(timezone=True), nullable=False),  # time of its latest prediction
    Column("committed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("model_id", "last_position"),
)
Index("ix_segments_writer_id", segments.c.writer_id, segments.c.first_number)
Index("ix_segments_at_to", segments.c.at_to, postgresql_using="brin")

feedback = Table(
    "feedback",
    metadata,
    Column("prediction_id", UUID(as_uuid=True), primary_key=True),
    Column("model_id", Integer, nullable=False),
    Column("label", Integer, nullable=False),
    Column("predicted", Integer, nullable=False),
    Column("probabilities", LargeBinary, nullable=False),  # copied, so that feedback survives its prediction
    # The two are unused since revision 0006; servers of an earlier version write them.
    Column("xid", XID8(), nullable=False, server_default=text("pg_current_xact_id()")),
    Column("seq", BigInteger, nullable=False, server_default=text("nextval('prediction_seq')")),
    _now(),
    Column("placed", Integer, nullable=True),  # the label that the label log has of it; NULL: none yet
)
Index(
    "ix_feedback_unplaced",
    feedback.c.model_id,
    feedback.c.created_at,
    postgresql_where=feedback.c.label.is_distinct_from(feedback.c.placed),
)

label_log = Table(  # each label that came back, and each correction of one, at a position of its model's own
    "label_log",
    metadata,
    Column("model_id", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("prediction_id", UUID(as_uuid=True), nullable=False),
    Column("label", Integer, nullable=False),
    Column("replaced", Integer, nullable=True),  # the label that this one corrects
    Column("tags", JSONB, nullable=False, server_default=text("'{}'::jsonb")),  # of its prediction
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("model_id", "position"),
)

slice_predictions = Table(  # unused since revision 0006: servers of an earlier version make its partitions
    "slice_predictions",
    metadata,
    Column("stream_id", Integer, nullable=False),
    Column("xid", XID8(), nullable=False),  # the prediction's own place in commit order
    Column("seq", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("id", UUID(as_uuid=True), nullable=False),
    PrimaryKeyConstraint("stream_id", "xid", "seq", "at"),
    postgresql_partition_by="RANGE (at)",
)

slice_feedback = Table(  # unused since revision 0006
    "slice_feedback",
    metadata,
    Column("stream_id", Integer, nullable=False),
    Column("xid", XID8(), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("prediction_id", UUID(as_uuid=True), nullable=False),
    Column("label", Integer, nullable=False),
    Column("predicted", Integer, nullable=False),
    Column("probabilities", LargeBinary, nullable=False),
    PrimaryKeyConstraint("stream_id", "xid", "seq"),
)

references = Table(
    "references",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("model_id", Integer, ForeignKey("models.id"), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("arrays", LargeBinary, nullable=False),  # npz
    Column("calibration", LargeBinary, nullable=True),  # npz of the detector's calibration, per run time and seed
    Column("thumbnails", LargeBinary, nullable=True),
    _now(),
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
    Column("cursor_xid", XID8(), nullable=False, server_default="0"),  # last prediction given to the detector
    Column("cursor_seq", BigInteger, nullable=False, server_default="0"),
    Column("window_xid", XID8(), nullable=False, server_default="0"),  # last prediction before the next window
    Column("window_seq", BigInteger, nullable=False, server_default="0"),
    Column("feedback_xid", XID8(), nullable=False, server_default="0"),
    Column("feedback_seq", BigInteger, nullable=False, server_default="0"),
    Column("calm_windows", Integer, nullable=False, server_default="0"),
    Column("detector", LargeBinary, nullable=True),  # npz
    Column("concept", LargeBinary, nullable=True),  # npz
    Column("status", JSONB, nullable=False, server_default=text("'{}'::jsonb")),  # evidence, threshold, rate, ...
    Column("last_success_at", DateTime(timezone=True), nullable=True),
    Column("last_window_at", DateTime(timezone=True), nullable=True),
    Column("tag_counts", JSONB, nullable=True),  # of the whole model's stream: the busiest values of each tag
    Column("retired_at", DateTime(timezone=True), nullable=True),  # of a slice's stream that others took the place of
    Column("position", BigInteger, nullable=False, server_default="0"),  # of the last prediction watched
    Column("label_position", BigInteger, nullable=False, server_default="0"),  # of the last label watched
    Column("window_position", BigInteger, nullable=False, server_default="0"),  # of the last one before the next window
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
    _now(),
)
Index("ix_calibrations_stream_id", calibrations.c.stream_id, calibrations.c.reference_id, calibrations.c.id)

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
    _now(),
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
    Column("certainty", Text, nullable=False, server_default="sure"),  # of the kind
    Column("sequence", Integer, nullable=False, server_default="0"),  # number of the incident's last event
    Column("resolution", Text, nullable=True),
    Column("reopened", Integer, nullable=False, server_default="0"),  # times that the incident came back
    Column("acknowledged_at", DateTime(timezone=True), nullable=True),
    Column("acknowledged_by", Text, nullable=True),
    Column("acknowledged_note", Text, nullable=True),
    Column("muted_until", DateTime(timezone=True), nullable=True),
    Column("muted_by", Text, nullable=True),
    Column(  # of a slice's alert: the alert of its model that it is part of
        "parent_id", UUID(as_uuid=True), ForeignKey("alerts.id", ondelete="SET NULL"), nullable=True
    ),
    Column("history", JSONB, nullable=False, server_default=text("'[]'::jsonb")),  # what happened to the incident
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
    Column("body", Text, nullable=False),  # as signed and sent
    Column("outcome", Text, nullable=False, server_default="pending"),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    Column("last_status", SmallInteger, nullable=True),
    Column("last_error", Text, nullable=True),
    Column("delivered_at", DateTime(timezone=True), nullable=True),
    Column("give_up_at", DateTime(timezone=True), nullable=False),
    _now(),
    Column("sequence", Integer, nullable=False, server_default="0"),  # of the event among those of its incident
    CheckConstraint("outcome IN ('pending', 'delivered', 'failed', 'superseded', 'muted')", name="outcome"),
)
Index("ix_deliveries_alert_id", deliveries.c.alert_id)

baselines = Table(  # traffic that was accepted as normal
    "baselines",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("stream_id", Integer, ForeignKey("streams.id"), nullable=False),
    Column("reference_id", Integer, ForeignKey("references.id"), nullable=False),
    Column("what", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("arrays", LargeBinary, nullable=False),  # npz of the accepted traffic in its own order
    Column("calibration", LargeBinary, nullable=True),  # npz of the detector's calibration against the baseline
    Column("accepted_by", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("undone_at", DateTime(timezone=True), nullable=True),
    Column("undone_by", Text, nullable=True),
    _now(),
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
    Column("reason", Text, nullable=True),  # of a failure
)

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
    Column("label_variance", Double, nullable=False),  # of the measured accuracy times the number of labels, expected
    Column("requested_by", Text, nullable=False),
    _now(),
)
Index("ix_label_rounds_stream_id_id", label_rounds.c.stream_id, label_rounds.c.id)

label_requests = Table(  # the predictions that were drawn, in the random order in which they are to be labelled
    "label_requests",
    metadata,
    Column("round_id", Integer, ForeignKey("label_rounds.id", ondelete="CASCADE"), nullable=False),
    Column("place", Integer, nullable=False),
    Column("prediction_id", UUID(as_uuid=True), nullable=False),
    Column("probability", Double, nullable=False),  # with which the prediction was drawn
    Column("confidence", Double, nullable=False),  # calibrated probability of the predicted class
    Column("skipped", Boolean, nullable=False, server_default=text("false")),  # a person cannot tell its class
    PrimaryKeyConstraint("round_id", "place"),
)
