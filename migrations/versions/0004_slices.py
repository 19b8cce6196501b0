"""Streams of single tag values: which predictions and labels belong to them, and which streams are retired."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE streams ADD COLUMN tag_counts jsonb, ADD COLUMN retired_at timestamptz;

        CREATE TABLE slice_predictions (
            stream_id integer NOT NULL,
            xid xid8 NOT NULL,
            seq bigint NOT NULL,
            at timestamptz NOT NULL,
            id uuid NOT NULL,
            CONSTRAINT pk_slice_predictions PRIMARY KEY (stream_id, xid, seq, at)
        ) PARTITION BY RANGE (at);

        CREATE TABLE slice_feedback (
            stream_id integer NOT NULL,
            xid xid8 NOT NULL,
            seq bigint NOT NULL,
            prediction_id uuid NOT NULL,
            label integer NOT NULL,
            predicted integer NOT NULL,
            probabilities bytea NOT NULL,
            CONSTRAINT pk_slice_feedback PRIMARY KEY (stream_id, xid, seq)
        );
        """
    )
