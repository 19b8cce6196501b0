"""Alerts become incidents with a numbered sequence of events; what people say of them; accepted baselines;
self-tests.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE alerts
            ADD COLUMN severity text NOT NULL DEFAULT 'ticket'
                CONSTRAINT ck_alerts_severity CHECK (severity IN ('ticket', 'page')),
            ADD COLUMN certainty text NOT NULL DEFAULT 'sure'
                CONSTRAINT ck_alerts_certainty CHECK (certainty IN ('likely', 'sure')),
            ADD COLUMN sequence integer NOT NULL DEFAULT 0,
            ADD COLUMN resolution text
                CONSTRAINT ck_alerts_resolution CHECK (resolution IN ('recovered', 'accepted', 'retired')),
            ADD COLUMN reopened integer NOT NULL DEFAULT 0,
            ADD COLUMN acknowledged_at timestamptz,
            ADD COLUMN acknowledged_by text,
            ADD COLUMN acknowledged_note text,
            ADD COLUMN muted_until timestamptz,
            ADD COLUMN muted_by text,
            ADD COLUMN parent_id uuid CONSTRAINT fk_alerts_parent_id REFERENCES alerts ON DELETE SET NULL,
            ADD COLUMN history jsonb NOT NULL DEFAULT '[]'::jsonb;
        CREATE INDEX ix_alerts_parent_id ON alerts (parent_id) WHERE parent_id IS NOT NULL;
        UPDATE alerts SET resolution = 'recovered' WHERE state = 'resolved';

        ALTER TABLE deliveries
            ALTER COLUMN alert_id DROP NOT NULL,
            ADD COLUMN sequence integer NOT NULL DEFAULT 0,
            DROP CONSTRAINT ck_deliveries_outcome,
            ADD CONSTRAINT ck_deliveries_outcome
                CHECK (outcome IN ('pending', 'delivered', 'failed', 'superseded', 'muted'));

        CREATE TABLE baselines (
            id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_baselines PRIMARY KEY,
            stream_id integer NOT NULL CONSTRAINT fk_baselines_stream_id REFERENCES streams,
            reference_id integer NOT NULL CONSTRAINT fk_baselines_reference_id REFERENCES "references",
            what text NOT NULL CONSTRAINT ck_baselines_what CHECK (what IN ('mix', 'images', 'all')),
            since timestamptz NOT NULL,
            until timestamptz NOT NULL,
            rows integer NOT NULL,
            arrays bytea NOT NULL,
            calibration bytea,
            accepted_by text NOT NULL,
            note text NOT NULL DEFAULT '',
            undone_at timestamptz,
            undone_by text,
            created_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX ix_baselines_stream_id_id ON baselines (stream_id, id);

        CREATE TABLE self_tests (
            reference_id integer CONSTRAINT pk_self_tests PRIMARY KEY
                CONSTRAINT fk_self_tests_reference_id REFERENCES "references" ON DELETE CASCADE,
            ran_at timestamptz NOT NULL,
            succeeded_at timestamptz,
            delay integer,
            reason text
        );
        """
    )
