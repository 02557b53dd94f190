"""Checkpoints, from which a rebuild starts, so that old bodies may go; and the programme that an event was folded under."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UP = (
    "ALTER TABLE events ALTER COLUMN payload DROP NOT NULL",
    "ALTER TABLE events ADD COLUMN programme TEXT",
    "COMMENT ON COLUMN events.programme IS 'fingerprint of the programme it was folded under'",
    """
    CREATE TABLE programmes (
        fingerprint TEXT NOT NULL,
        body JSONB NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (fingerprint)
    )
    """,
    """
    CREATE TABLE checkpoints (
        account_id TEXT NOT NULL,
        applied_seq BIGINT DEFAULT 0 NOT NULL,
        seq BIGINT DEFAULT 0 NOT NULL,
        facts JSONB DEFAULT '{}' NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (account_id)
    )
    """,
    "COMMENT ON COLUMN checkpoints.applied_seq IS 'the last event folded into it'",
    "COMMENT ON COLUMN checkpoints.seq IS 'the last journal line of those events'",
    """
    CREATE TABLE checkpoint_objects (
        account_id TEXT NOT NULL,
        object_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        data JSONB NOT NULL,
        observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        version BIGINT DEFAULT 1 NOT NULL,
        PRIMARY KEY (account_id, object_id)
    )
    """,
)
DOWN = (
    "DROP TABLE checkpoint_objects",
    "DROP TABLE checkpoints",
    "DROP TABLE programmes",
    "ALTER TABLE events DROP COLUMN programme",
    "UPDATE events SET payload = '{}'::bytea WHERE payload IS NULL",
    "ALTER TABLE events ALTER COLUMN payload SET NOT NULL",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
