"""Sessions of the console that were ended by logging out."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE ended_sessions (
            digest BYTEA NOT NULL,
            until TIMESTAMP WITH TIME ZONE NOT NULL,
            PRIMARY KEY (digest)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE ended_sessions")
