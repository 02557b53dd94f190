"""What an account still has in its outbox is found without looking at all that it ever sent."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX outbox_unsettled ON outbox (account_id, due_at) WHERE status <> 'settled'")


def downgrade() -> None:
    op.execute("DROP INDEX outbox_unsettled")
