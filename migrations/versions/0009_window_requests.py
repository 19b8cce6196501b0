"""When a window test of a stream was requested by a person, until it is stored."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE streams ADD COLUMN window_requested_at timestamptz")
