"""What the model of a reference survives: its accuracy under rehearsed operations, for the pages and the API."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute('ALTER TABLE "references" ADD COLUMN survival jsonb')
