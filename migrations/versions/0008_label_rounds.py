"""Predictions that were drawn to be labelled, with the probability of each."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE label_rounds (
            id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_label_rounds PRIMARY KEY,
            stream_id integer NOT NULL CONSTRAINT fk_label_rounds_stream_id REFERENCES streams ON DELETE CASCADE,
            since timestamptz NOT NULL,
            until timestamptz NOT NULL,
            population integer NOT NULL,
            requested integer NOT NULL,
            mean_confidence double precision NOT NULL,
            label_variance double precision NOT NULL,
            requested_by text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX ix_label_rounds_stream_id_id ON label_rounds (stream_id, id);

        CREATE TABLE label_requests (
            round_id integer NOT NULL CONSTRAINT fk_label_requests_round_id REFERENCES label_rounds ON DELETE CASCADE,
            place integer NOT NULL,
            prediction_id uuid NOT NULL,
            probability double precision NOT NULL,
            confidence double precision NOT NULL,
            skipped boolean NOT NULL DEFAULT false,
            CONSTRAINT pk_label_requests PRIMARY KEY (round_id, place)
        );
        """
    )
