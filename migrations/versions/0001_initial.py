"""The first schema: models, predictions by day, references, streams, windows, alerts, and procrastinate's jobs."""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE SEQUENCE prediction_seq;

CREATE TABLE models (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_models PRIMARY KEY,
    name text NOT NULL,
    version text NOT NULL,
    sha256 text NOT NULL,
    labels jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_models_name_version UNIQUE (name, version)
);

CREATE TABLE predictions (
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    model_id integer NOT NULL,
    label integer NOT NULL,
    confidence real NOT NULL,
    probabilities bytea NOT NULL,
    embedding bytea NOT NULL,
    properties bytea,
    tags jsonb NOT NULL DEFAULT '{}'::jsonb,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint NOT NULL DEFAULT nextval('prediction_seq'),
    CONSTRAINT pk_predictions PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
ALTER TABLE predictions ALTER COLUMN embedding SET STORAGE EXTERNAL;
CREATE INDEX ix_predictions_stream ON predictions (model_id, xid, seq);

CREATE TABLE feedback (
    prediction_id uuid CONSTRAINT pk_feedback PRIMARY KEY,
    model_id integer NOT NULL,
    label integer NOT NULL,
    predicted integer NOT NULL,
    probabilities bytea NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint NOT NULL DEFAULT nextval('prediction_seq'),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_feedback_stream ON feedback (model_id, xid, seq);

CREATE TABLE "references" (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_references PRIMARY KEY,
    model_id integer NOT NULL CONSTRAINT fk_references_model_id REFERENCES models,
    rows integer NOT NULL,
    arrays bytea NOT NULL,
    calibration bytea,
    thumbnails bytea,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE streams (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_streams PRIMARY KEY,
    model_id integer NOT NULL CONSTRAINT fk_streams_model_id REFERENCES models,
    slice text NOT NULL DEFAULT '',
    reference_id integer CONSTRAINT fk_streams_reference_id REFERENCES "references",
    state text NOT NULL DEFAULT 'warming_up'
        CONSTRAINT ck_streams_state CHECK (state IN ('warming_up', 'calm', 'drifting')),
    kind text NOT NULL DEFAULT 'none',
    since timestamptz,
    seen bigint NOT NULL DEFAULT 0,
    tested bigint NOT NULL DEFAULT 0,
    window_start bigint NOT NULL DEFAULT 0,
    cursor_xid xid8 NOT NULL DEFAULT '0',
    cursor_seq bigint NOT NULL DEFAULT 0,
    window_xid xid8 NOT NULL DEFAULT '0',
    window_seq bigint NOT NULL DEFAULT 0,
    feedback_xid xid8 NOT NULL DEFAULT '0',
    feedback_seq bigint NOT NULL DEFAULT 0,
    calm_windows integer NOT NULL DEFAULT 0,
    detector bytea,
    concept bytea,
    status jsonb NOT NULL DEFAULT '{}'::jsonb,
    last_success_at timestamptz,
    last_window_at timestamptz,
    CONSTRAINT uq_streams_model_id_slice UNIQUE (model_id, slice)
);

CREATE TABLE calibrations (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_calibrations PRIMARY KEY,
    stream_id integer NOT NULL CONSTRAINT fk_calibrations_stream_id REFERENCES streams,
    reference_id integer NOT NULL CONSTRAINT fk_calibrations_reference_id REFERENCES "references",
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    rows integer NOT NULL,
    design_effect real NOT NULL,
    calm bytea NOT NULL,
    calibration bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_calibrations_stream_id ON calibrations (stream_id, reference_id, id);

CREATE TABLE windows (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_windows PRIMARY KEY,
    stream_id integer NOT NULL CONSTRAINT fk_windows_stream_id REFERENCES streams,
    start timestamptz NOT NULL,
    "end" timestamptz NOT NULL,
    first bigint NOT NULL,
    size integer NOT NULL,
    p_value double precision NOT NULL,
    drifted boolean NOT NULL,
    kind text NOT NULL,
    evidence double precision,
    threshold double precision,
    seconds real NOT NULL,
    report jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_windows_stream_id_first_size UNIQUE (stream_id, first, size)
);
CREATE INDEX ix_windows_stream_id_id ON windows (stream_id, id);

CREATE TABLE alerts (
    id uuid CONSTRAINT pk_alerts PRIMARY KEY,
    stream_id integer NOT NULL CONSTRAINT fk_alerts_stream_id REFERENCES streams,
    kind text NOT NULL,
    state text NOT NULL CONSTRAINT ck_alerts_state CHECK (state IN ('firing', 'resolved')),
    since timestamptz NOT NULL,
    fired_at timestamptz NOT NULL,
    resolved_at timestamptz,
    position bigint NOT NULL,
    window_id bigint CONSTRAINT fk_alerts_window_id REFERENCES windows,
    p_value double precision NOT NULL,
    summary text NOT NULL,
    report jsonb NOT NULL
);
CREATE INDEX ix_alerts_fired_at ON alerts (fired_at);
CREATE UNIQUE INDEX uq_alerts_firing ON alerts (stream_id, kind) WHERE state = 'firing';

CREATE TABLE deliveries (
    id uuid CONSTRAINT pk_deliveries PRIMARY KEY,
    alert_id uuid NOT NULL CONSTRAINT fk_deliveries_alert_id REFERENCES alerts,
    event text NOT NULL,
    url text NOT NULL,
    format text NOT NULL,
    body text NOT NULL,
    outcome text NOT NULL DEFAULT 'pending'
        CONSTRAINT ck_deliveries_outcome CHECK (outcome IN ('pending', 'delivered', 'failed')),
    attempts smallint NOT NULL DEFAULT 0,
    last_status smallint,
    last_error text,
    delivered_at timestamptz,
    give_up_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_deliveries_alert_id ON deliveries (alert_id);
"""


def upgrade() -> None:
    connection = op.get_bind().connection.driver_connection
    connection.execute(TABLES)
    connection.execute(SchemaManager.get_schema().encode())
