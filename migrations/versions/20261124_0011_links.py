"""Which objects name which, found from either side."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE links (
            account_id TEXT NOT NULL,
            object_id TEXT NOT NULL,
            linked_id TEXT NOT NULL,
            PRIMARY KEY (account_id, object_id, linked_id)
        )
        """
    )
    op.execute("CREATE INDEX links_back ON links (account_id, linked_id, object_id)")
    op.execute(
        """
        INSERT INTO links SELECT o.account_id, o.object_id, f.value #>> '{}' FROM objects o, jsonb_each(o.data) AS f
         WHERE f.key IN ('card', 'cardholder', 'token', 'authorization', 'transaction', 'dispute', 'refund',
                         'replacement_for', 'replaced_by', 'personalization_design', 'outbound_payment', 'payout_method')
           AND jsonb_typeof(f.value) = 'string' AND f.value <> '""'
        ON CONFLICT DO NOTHING
        """
    )
    op.execute(
        """
        INSERT INTO links SELECT account_id, object_id, one.id
          FROM objects, jsonb_array_elements_text(
               CASE jsonb_typeof(data -> 'transactions') WHEN 'array' THEN data -> 'transactions' ELSE '[]' END) AS one (id)
         WHERE one.id <> '' ON CONFLICT DO NOTHING
        """
    )
    op.execute(
        """
        INSERT INTO links SELECT o.account_id, o.object_id, f.value ->> (f.value ->> 'type')
          FROM objects o, jsonb_each(o.data) AS f
         WHERE f.key IN ('flow', 'adjusted_flow') AND f.value ->> (f.value ->> 'type') <> '' ON CONFLICT DO NOTHING
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE links")
