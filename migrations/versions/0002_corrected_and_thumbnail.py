"""Predictions keep their posterior at other class proportions, and a thumbnail, where there are such; what is known of
labels that came back is learnt again, for it now says which they were."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE predictions ADD COLUMN corrected bytea, ADD COLUMN thumbnail bytea;
        ALTER TABLE predictions ALTER COLUMN thumbnail SET STORAGE EXTERNAL;
        ALTER TABLE "references" ALTER COLUMN thumbnails SET STORAGE EXTERNAL;
        UPDATE streams SET concept = NULL;
        """
    )
