"""Models that are served elsewhere keep the size of their embedding, so that no later prediction has another."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE models ADD COLUMN embedding_size integer")
