"""Kept answers of API writes are found by their age, so that old ones can go."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX idempotency_by_creation ON idempotency (created_at)")


def downgrade() -> None:
    op.execute("DROP INDEX idempotency_by_creation")
