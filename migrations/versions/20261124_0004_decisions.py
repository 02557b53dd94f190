"""Decisions in turns without a lock, and indexes to find them, their mismatches and their debits."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE decision_turns (
            account_id TEXT NOT NULL,
            turn BIGINT NOT NULL,
            PRIMARY KEY (account_id)
        )
        """
    )
    op.execute("COMMENT ON COLUMN decision_turns.turn IS 'grows with every decision of the account'")
    op.execute("CREATE INDEX decisions_by_authorization ON decisions (authorization_id)")
    op.execute(
        """
        CREATE INDEX decisions_mismatched ON decisions (decided_at, request_event_id)
         WHERE stripe_approved IS NOT NULL
           AND (stripe_approved <> approved OR stripe_reason IN ('webhook_timeout', 'webhook_error'))
        """
    )
    op.execute(
        "CREATE INDEX objects_debits ON objects (account_id, (data ->> 'authorization')) WHERE kind = 'received_debit'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX objects_debits")
    op.execute("DROP INDEX decisions_mismatched")
    op.execute("DROP INDEX decisions_by_authorization")
    op.execute("DROP TABLE decision_turns")
