"""Columns that may hold personal data become sealed bytes; data keys get their table.

Rows that are there already stay as they are and readable, since JSON text begins with no version byte; ``cardrail
encryption rewrite`` seals them. The way back is refused while a sealed row exists, since SQL cannot open one.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON_COLUMNS = (("events", "fetched"), ("outbox", "params"), ("idempotency", "body"))
COLUMNS = (("events", "payload"), *JSON_COLUMNS)
COMMENTS = {
    ("events", "payload"): ("sealed", None),
    ("events", "fetched"): (
        "sealed; readings kept beside it: {url: object or {missing: code}}",
        "readings kept beside the event: {url: object or {missing: code}}",
    ),
    ("outbox", "params"): ("sealed", None),
    ("idempotency", "body"): ("sealed", None),
}


def upgrade() -> None:
    op.execute("""
        CREATE TABLE data_keys (
            id INTEGER NOT NULL,
            wrapped BYTEA NOT NULL,
            wrapped_by TEXT NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            PRIMARY KEY (id)
        )
    """)
    op.execute("COMMENT ON COLUMN data_keys.wrapped_by IS 'id of the key-encryption key in the settings'")
    for table, column in JSON_COLUMNS:
        text = f"{column} #>> '{{}}'" if column == "body" else f"{column}::text"
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE bytea USING convert_to({text}, 'UTF8')")
    _comment(0)


def downgrade() -> None:
    for table, column in COLUMNS:
        sealed = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE get_byte({column}, 0) < 9)"  # noqa: S608 - names from above
        if op.get_bind().exec_driver_sql(sealed).scalar():
            raise RuntimeError(f"{table}.{column} holds sealed rows, which the older schema cannot keep.")
    for table, column in JSON_COLUMNS:
        text = f"convert_from({column}, 'UTF8')"
        made = f"to_jsonb({text})" if column == "body" else f"{text}::jsonb"
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE jsonb USING {made}")
    _comment(1)
    op.execute("DROP TABLE data_keys")


def _comment(which: int) -> None:
    for (table, column), words in COMMENTS.items():
        said = words[which]
        op.execute(f"COMMENT ON COLUMN {table}.{column} IS " + ("NULL" if said is None else f"'{said}'"))
