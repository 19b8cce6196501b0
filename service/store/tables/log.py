"""The log: models, their predictions and labels, and the positions at which the forwarders wrote them."""

from uuid import UUID as UUIDValue

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
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

from .base import XID8, created_at, metadata

SWEEP_SPOOL = UUIDValue(int=0)  # spool of the writers that number the rows of servers of an earlier version

models = Table(
    "models",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("labels", JSONB, nullable=False),
    created_at(),
    Column("embedding_size", Integer, nullable=True),  # for a model served elsewhere: that of its first embedding
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
    created_at(),
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
    created_at(),
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
    Column("first_number", BigInteger, nullable=False),  # number of the row at `first_position`
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
    created_at(),
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
    Column("tags", JSONB, nullable=False, server_default=text("'{}'::jsonb")),  # the prediction's tags
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("model_id", "position"),
)
