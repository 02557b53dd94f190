"""Events are found by the beginning of their name, byte by byte, whatever the database's collation.

On a big table, let the index be built beforehand while events come in, and this only finds it there:
``CREATE INDEX CONCURRENTLY events_by_name ON events (event_id text_pattern_ops)``.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX IF NOT EXISTS events_by_name ON events (event_id text_pattern_ops)")
    op.execute("DROP INDEX events_by_id")


def downgrade() -> None:
    op.execute("CREATE INDEX events_by_id ON events (event_id)")
    op.execute("DROP INDEX events_by_name")
