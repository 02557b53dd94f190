"""Signing secrets of subscriptions become sealed bytes.

Rows that are there already stay as they are and work, since a secret begins with no version byte; ``cardrail encryption
rewrite`` seals them. The way back is refused while a sealed row exists, since SQL cannot open one.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COLUMNS = ("secret", "secret_before")


def upgrade() -> None:
    for column in COLUMNS:
        op.execute(f"ALTER TABLE subscriptions ALTER COLUMN {column} TYPE bytea USING convert_to({column}, 'UTF8')")
    _comment("'sealed'", "'sealed; signs too until secret_before_until'")


def downgrade() -> None:
    for column in COLUMNS:
        sealed = f"SELECT EXISTS (SELECT 1 FROM subscriptions WHERE get_byte({column}, 0) < 9)"  # noqa: S608 - names from above
        if op.get_bind().exec_driver_sql(sealed).scalar():
            raise RuntimeError(f"subscriptions.{column} holds sealed rows, which the older schema cannot keep.")
    for column in COLUMNS:
        op.execute(f"ALTER TABLE subscriptions ALTER COLUMN {column} TYPE text USING convert_from({column}, 'UTF8')")
    _comment("NULL", "'signs too until secret_before_until'")


def _comment(secret: str, before: str) -> None:
    op.execute(f"COMMENT ON COLUMN subscriptions.secret IS {secret}")
    op.execute(f"COMMENT ON COLUMN subscriptions.secret_before IS {before}")
