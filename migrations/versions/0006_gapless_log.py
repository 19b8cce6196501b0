"""Predictions and labels get gapless positions per model that depend on no transaction id: writers number their rows,
segments give numbers their positions, and the monitor's place in a stream becomes a position.

An earlier server continues to write while this runs and afterwards. Its rows have no writer, its labels are not in the
label log: `tidemark.store.log_sweep` places both. A row that was logged before this revision keeps its `seq` as its
number and its position, except for those that some stream had still to read: they are numbered again, in the order in
which they would have been read.

Transaction ids are not written any more: a monitor of an earlier version does not see what is logged from now on.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE installation (
    id smallint CONSTRAINT pk_installation PRIMARY KEY DEFAULT 1 CONSTRAINT ck_installation_single CHECK (id = 1),
    identity uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO installation DEFAULT VALUES;

CREATE TABLE writers (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_writers PRIMARY KEY,
    spool uuid NOT NULL,
    model_id integer NOT NULL CONSTRAINT fk_writers_model_id REFERENCES models,
    pending bigint NOT NULL DEFAULT 0,
    written_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_writers_spool_model_id UNIQUE (spool, model_id)
);

CREATE TABLE segments (
    model_id integer NOT NULL,
    last_position bigint NOT NULL,
    first_position bigint NOT NULL,
    first_number bigint NOT NULL,
    writer_id integer NOT NULL,
    at_from timestamptz NOT NULL,
    at_to timestamptz NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_segments PRIMARY KEY (model_id, last_position)
);
CREATE INDEX ix_segments_writer_id ON segments (writer_id, first_number);
CREATE INDEX ix_segments_at_to ON segments USING brin (at_to) WITH (pages_per_range = 16, autosummarize = on);

CREATE TABLE label_log (
    model_id integer NOT NULL,
    position bigint NOT NULL,
    prediction_id uuid NOT NULL,
    label integer NOT NULL,
    replaced integer,
    tags jsonb NOT NULL DEFAULT '{}'::jsonb,
    at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_label_log PRIMARY KEY (model_id, position)
);

CREATE VIEW log_ends AS
SELECT m.id AS model_id, 'predictions' AS log, coalesce(s.last_position, 0) AS position, s.committed_at AS at
FROM models m LEFT JOIN LATERAL (
    SELECT last_position, committed_at FROM segments WHERE model_id = m.id ORDER BY last_position DESC LIMIT 1
) s ON true
UNION ALL
SELECT m.id, 'labels', coalesce(l.position, 0), l.at
FROM models m LEFT JOIN LATERAL (
    SELECT position, at FROM label_log WHERE model_id = m.id ORDER BY position DESC LIMIT 1
) l ON true;

CREATE TABLE checkpoints (
    stream_id integer CONSTRAINT pk_checkpoints PRIMARY KEY
        CONSTRAINT fk_checkpoints_stream_id REFERENCES streams ON DELETE CASCADE,
    position bigint NOT NULL,
    label_position bigint NOT NULL,
    state bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE checkpoints ALTER COLUMN state SET STORAGE EXTERNAL;

CREATE TABLE evidence_points (
    stream_id integer NOT NULL CONSTRAINT fk_evidence_points_stream_id REFERENCES streams ON DELETE CASCADE,
    position bigint NOT NULL,
    at timestamptz NOT NULL,
    evidence double precision NOT NULL,
    threshold double precision,
    CONSTRAINT pk_evidence_points PRIMARY KEY (stream_id, position)
);

ALTER TABLE feedback ADD COLUMN placed integer;

ALTER TABLE streams
    ADD COLUMN position bigint NOT NULL DEFAULT 0,
    ADD COLUMN label_position bigint NOT NULL DEFAULT 0,
    ADD COLUMN window_position bigint NOT NULL DEFAULT 0,
    ADD COLUMN lease_owner uuid,
    ADD COLUMN lease_until timestamptz,
    ADD COLUMN blind_reason text,
    ADD COLUMN rejected jsonb NOT NULL DEFAULT '{}'::jsonb;
"""

# A new column's constant default rewrites no row that there is; the rows that follow get the default that is set next.
PREDICTIONS = """
ALTER TABLE predictions RENAME COLUMN seq TO number;
ALTER TABLE predictions ADD COLUMN writer_id integer DEFAULT 0;
ALTER TABLE predictions ALTER COLUMN writer_id DROP DEFAULT;

CREATE TEMP TABLE first_places ON COMMIT DROP AS
SELECT DISTINCT ON (model_id) model_id, xid, number FROM (
    SELECT model_id, cursor_xid AS xid, cursor_seq AS number FROM streams
    WHERE reference_id IS NOT NULL AND retired_at IS NULL
    UNION ALL
    SELECT model_id, window_xid, window_seq FROM streams WHERE reference_id IS NOT NULL AND retired_at IS NULL
) places
ORDER BY model_id, xid, number;

CREATE TEMP TABLE unread ON COMMIT DROP AS
SELECT p.id, p.at, p.model_id, p.xid, p.number,
    row_number() OVER (PARTITION BY p.model_id ORDER BY p.xid, p.number) AS place
FROM predictions p JOIN first_places f USING (model_id)
WHERE (p.xid, p.number) > (f.xid, f.number);
ANALYZE unread;

INSERT INTO writers (spool, model_id)
SELECT DISTINCT CAST('00000000-0000-0000-0000-000000000000' AS uuid), model_id FROM unread;

UPDATE predictions p SET writer_id = w.id, number = u.place
FROM unread u JOIN writers w USING (model_id) WHERE p.id = u.id AND p.at = u.at;

CREATE INDEX ix_predictions_number ON predictions (model_id, writer_id, number);
CREATE INDEX ix_predictions_unplaced ON predictions (model_id, number) WHERE writer_id IS NULL;
DROP INDEX ix_predictions_stream;
ALTER TABLE predictions ALTER COLUMN xid DROP NOT NULL, ALTER COLUMN xid DROP DEFAULT;

INSERT INTO segments (model_id, last_position, first_position, first_number, writer_id, at_from, at_to)
SELECT model_id, max(number), min(number), min(number), 0, min(at), max(at)
FROM predictions WHERE writer_id = 0 GROUP BY model_id;

INSERT INTO segments (model_id, last_position, first_position, first_number, writer_id, at_from, at_to)
SELECT u.model_id, e.position + count(*), e.position + 1, 1, w.id, min(u.at), max(u.at)
FROM unread u
JOIN writers w USING (model_id)
JOIN log_ends e ON e.model_id = u.model_id AND e.log = 'predictions'
GROUP BY u.model_id, e.position, w.id;

UPDATE streams s SET position = e.position, window_position = e.position
FROM log_ends e WHERE e.model_id = s.model_id AND e.log = 'predictions';

UPDATE streams s SET
    position = s.position - (
        SELECT count(*) FROM unread u
        WHERE u.model_id = s.model_id AND (u.xid, u.number) > (s.cursor_xid, s.cursor_seq)),
    window_position = s.window_position - (
        SELECT count(*) FROM unread u
        WHERE u.model_id = s.model_id AND (u.xid, u.number) > (s.window_xid, s.window_seq))
WHERE reference_id IS NOT NULL AND retired_at IS NULL;
"""

LABELS = """
INSERT INTO label_log (model_id, position, prediction_id, label)
SELECT model_id, row_number() OVER (PARTITION BY model_id ORDER BY xid, seq), prediction_id, label FROM feedback;

UPDATE feedback SET placed = label;
DROP INDEX ix_feedback_stream;
CREATE INDEX ix_feedback_unplaced ON feedback (model_id, created_at) WHERE label IS DISTINCT FROM placed;

UPDATE streams s SET label_position = e.position - CASE
    WHEN s.reference_id IS NULL OR s.retired_at IS NOT NULL THEN 0
    ELSE (SELECT count(*) FROM feedback f WHERE f.model_id = s.model_id
        AND (f.xid, f.seq) > (s.feedback_xid, s.feedback_seq)) END
FROM log_ends e WHERE e.model_id = s.model_id AND e.log = 'labels';

UPDATE label_log l SET tags = p.tags
FROM predictions p, (SELECT model_id, min(label_position) AS position FROM streams GROUP BY model_id) s
WHERE s.model_id = l.model_id AND l.position > s.position AND p.id = l.prediction_id AND p.tags <> '{}'::jsonb;
"""


def upgrade() -> None:
    connection = op.get_bind().connection.driver_connection
    for part in (TABLES, PREDICTIONS, LABELS):
        connection.execute(part)
