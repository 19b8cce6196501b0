"""Tables that only servers of an earlier version write."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, LargeBinary, PrimaryKeyConstraint, Table
from sqlalchemy.dialects.postgresql import UUID

from .base import XID8, metadata

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
