"""Idempotency keys of writes that take longer than one transaction: who works under the key, and until when it is his."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE idempotency
            ADD COLUMN lease_token UUID,
            ADD COLUMN lease_until TIMESTAMP WITH TIME ZONE
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE idempotency DROP COLUMN lease_token, DROP COLUMN lease_until")
