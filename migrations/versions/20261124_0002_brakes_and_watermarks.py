"""A released brake stays on record (a burst before the release must not set it again); how far the log is whole."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = (
    "ALTER TABLE brakes ADD COLUMN released_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE brakes ADD COLUMN released_by TEXT",
    "ALTER TABLE brakes ADD COLUMN release_reason TEXT",
    "COMMENT ON COLUMN brakes.by IS 'cardrail where it was set by itself'",
    """
    CREATE INDEX outbox_ended ON outbox (kind, updated_at)
     WHERE status IN ('settled', 'rejected', 'parked')
    """,
    """
    CREATE TABLE watermarks (
        name TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    "COMMENT ON COLUMN watermarks.at IS 'up to when nothing is missing'",
)
DOWN = (
    "DROP TABLE watermarks",
    "DROP INDEX outbox_ended",
    "DELETE FROM brakes WHERE released_at IS NOT NULL",
    "COMMENT ON COLUMN brakes.by IS NULL",
    "ALTER TABLE brakes DROP COLUMN release_reason",
    "ALTER TABLE brakes DROP COLUMN released_by",
    "ALTER TABLE brakes DROP COLUMN released_at",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
