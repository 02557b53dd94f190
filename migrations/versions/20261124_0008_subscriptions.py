"""Subscriptions of other services, and the notices that are pushed to them."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE subscriptions (
        id TEXT NOT NULL,
        url TEXT NOT NULL,
        description TEXT,
        types TEXT[] NOT NULL,
        accounts TEXT[],
        secret TEXT NOT NULL,
        secret_before TEXT,
        secret_before_until TIMESTAMP WITH TIME ZONE,
        enabled BOOLEAN DEFAULT true NOT NULL,
        disabled_reason TEXT,
        failing_since TIMESTAMP WITH TIME ZONE,
        cursor_txid BIGINT NOT NULL,
        cursor_account TEXT NOT NULL,
        cursor_seq BIGINT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    "COMMENT ON COLUMN subscriptions.types IS 'types of notices wanted; * and card.* are wildcards'",
    "COMMENT ON COLUMN subscriptions.accounts IS 'only of these accounts; null: of all'",
    "COMMENT ON COLUMN subscriptions.secret_before IS 'signs too until secret_before_until'",
    "COMMENT ON COLUMN subscriptions.cursor_txid IS 'with account and seq the last journal line looked at'",
    """
    CREATE TABLE notices (
        account_id TEXT NOT NULL,
        notice_id TEXT NOT NULL,
        subscription_id TEXT NOT NULL,
        type TEXT NOT NULL,
        body TEXT NOT NULL,
        status TEXT DEFAULT 'pending' NOT NULL,
        attempts INTEGER DEFAULT 0 NOT NULL,
        due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        lease_token UUID,
        response_code INTEGER,
        error TEXT,
        delivered_at TIMESTAMP WITH TIME ZONE,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (account_id, notice_id)
    )
    """,
    "COMMENT ON COLUMN notices.notice_id IS 'the webhook-id, the same in every attempt and replay'",
    "COMMENT ON COLUMN notices.status IS 'pending in_flight delivered failed'",
    "CREATE INDEX notices_due ON notices (subscription_id, due_at) WHERE status IN ('pending', 'in_flight')",
    "CREATE INDEX notices_by_creation ON notices (subscription_id, created_at, notice_id)",
    "CREATE INDEX notices_by_id ON notices (notice_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE notices")
    op.execute("DROP TABLE subscriptions")
