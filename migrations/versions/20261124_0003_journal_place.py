"""A place for every journal line in one stream of all accounts, which no line that commits late can fall behind."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE journal ADD COLUMN txid BIGINT NOT NULL DEFAULT (pg_current_xact_id()::text::bigint)")
    op.execute(
        "COMMENT ON COLUMN journal.txid IS"
        " 'transaction that wrote the line: with account_id and seq its place in the stream of all accounts'"
    )
    op.execute("DROP INDEX journal_by_time")
    op.execute("CREATE INDEX journal_by_place ON journal (txid, account_id, seq)")
    op.execute("CREATE INDEX journal_by_time ON journal USING brin (at)")


def downgrade() -> None:
    op.execute("DROP INDEX journal_by_time")
    op.execute("DROP INDEX journal_by_place")
    op.execute("CREATE INDEX journal_by_time ON journal (at, account_id, seq)")
    op.execute("ALTER TABLE journal DROP COLUMN txid")
