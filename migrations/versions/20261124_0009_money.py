"""Balances as read per day and entries still to be read, for the books; negative balances; setup intents to poll."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE INDEX accounts_negative ON accounts (account_id)
     WHERE jsonb_path_exists(facts, '$.balance.available.* ? (@ < 0)')
    """,
    """
    CREATE INDEX objects_to_poll ON objects (updated_at, account_id, object_id)
     WHERE kind = 'outbound_setup_intent' AND state IN ('requires_payout_method', 'requires_action')
    """,
    """
    CREATE TABLE balances (
        account_id TEXT NOT NULL,
        object_id TEXT NOT NULL,
        day DATE NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        balance JSONB NOT NULL,
        PRIMARY KEY (account_id, object_id, day)
    )
    """,
    "COMMENT ON COLUMN balances.day IS 'UTC'",
    "COMMENT ON COLUMN balances.at IS 'the last reading of that day'",
    """
    CREATE TABLE ledger_reads (
        account_id TEXT NOT NULL,
        changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        due_at TIMESTAMP WITH TIME ZONE,
        until TIMESTAMP WITH TIME ZONE,
        tries INTEGER DEFAULT 0 NOT NULL,
        PRIMARY KEY (account_id)
    )
    """,
    "COMMENT ON COLUMN ledger_reads.changed_at IS 'when a transaction last changed'",
    "COMMENT ON COLUMN ledger_reads.due_at IS 'when the entries are to be read; null when all are here'",
    "COMMENT ON COLUMN ledger_reads.until IS 'creation of the newest entry read'",
    "CREATE INDEX ledger_reads_due ON ledger_reads (due_at) WHERE due_at IS NOT NULL",
)
DOWN = (
    "DROP TABLE ledger_reads",
    "DROP TABLE balances",
    "DROP INDEX objects_to_poll",
    "DROP INDEX accounts_negative",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
