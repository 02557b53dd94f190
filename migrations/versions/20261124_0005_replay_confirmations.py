"""A bulk replay keeps what it would do, and a forced one above the amount is confirmed by a second key."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = (
    ("dry_run", "BOOLEAN DEFAULT false NOT NULL", None),
    ("forecast", "JSONB", "what it would do; complete when all was looked at"),
    ("by_key", "TEXT", "id of the API key that asked, or who was at the command line"),
    ("confirmed_by", "TEXT", None),
    ("confirmed_key", "TEXT", "another key than by_key"),
    ("confirmed_at", "TIMESTAMP WITH TIME ZONE", None),
)


def upgrade() -> None:
    for name, kind, comment in COLUMNS:
        op.execute(f"ALTER TABLE replays ADD COLUMN {name} {kind}")
        if comment:
            op.execute(f"COMMENT ON COLUMN replays.{name} IS '{comment}'")
    op.execute("UPDATE replays SET dry_run = true WHERE state = 'planned'")


def downgrade() -> None:
    for name, _, _ in COLUMNS:
        op.execute(f"ALTER TABLE replays DROP COLUMN {name}")
