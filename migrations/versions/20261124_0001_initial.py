"""The first schema: accounts and their log, objects, journal and outbox; decisions; the door; keys and operators."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "accounts",
    "events",
    "objects",
    "journal",
    "outbox",
    "decisions",
    "rejections",
    "api_keys",
    "idempotency",
    "operator_actions",
    "brakes",
    "replays",
    "heartbeats",
)

STATEMENTS = (
    """
    CREATE TABLE accounts (
        account_id TEXT NOT NULL,
        state TEXT DEFAULT 'enrolled' NOT NULL,
        since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        version BIGINT DEFAULT 0 NOT NULL,
        seq BIGINT DEFAULT 0 NOT NULL,
        applied BIGINT DEFAULT 0 NOT NULL,
        programme TEXT,
        country TEXT,
        enrolled BOOLEAN DEFAULT false NOT NULL,
        hold JSONB,
        facts JSONB DEFAULT '{}' NOT NULL,
        lease_token UUID,
        lease_until TIMESTAMP WITH TIME ZONE,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (account_id)
    )
    """,
    "COMMENT ON COLUMN accounts.seq IS 'last journal line written'",
    "COMMENT ON COLUMN accounts.applied IS 'events applied so far'",
    "COMMENT ON COLUMN accounts.hold IS '{by, reason, at} while automation is stopped for this account'",
    "CREATE INDEX accounts_by_state ON accounts (state, account_id)",
    """
    CREATE TABLE events (
        account_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        source TEXT NOT NULL,
        type TEXT NOT NULL,
        kind TEXT NOT NULL,
        created TIMESTAMP WITH TIME ZONE NOT NULL,
        received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        payload BYTEA NOT NULL,
        fetched JSONB,
        twin_id TEXT,
        caused_by TEXT,
        status TEXT NOT NULL,
        attempts INTEGER DEFAULT 0 NOT NULL,
        due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        error JSONB,
        applied_seq BIGINT,
        applied_at TIMESTAMP WITH TIME ZONE,
        deliveries INTEGER DEFAULT 1 NOT NULL,
        PRIMARY KEY (account_id, event_id)
    )
    """,
    "COMMENT ON COLUMN events.source IS 'webhook response poll request timer'",
    "COMMENT ON COLUMN events.kind IS 'snapshot thin internal'",
    "COMMENT ON COLUMN events.fetched IS 'readings kept beside the event: {url: object or {missing: code}}'",
    "COMMENT ON COLUMN events.caused_by IS 'event or command this event came from'",
    "COMMENT ON COLUMN events.status IS 'pending applied ignored parked'",
    "COMMENT ON COLUMN events.error IS '{code, message}'",
    "CREATE INDEX events_by_arrival ON events (received_at, event_id)",
    "CREATE INDEX events_by_id ON events (event_id)",
    "CREATE INDEX events_parked ON events (account_id, event_id) WHERE status = 'parked'",
    "CREATE INDEX events_pending ON events (account_id, due_at) WHERE status = 'pending'",
    "CREATE INDEX events_twins ON events (account_id, twin_id) WHERE twin_id IS NOT NULL",
    """
    CREATE TABLE objects (
        account_id TEXT NOT NULL,
        object_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        data JSONB NOT NULL,
        observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        version BIGINT DEFAULT 1 NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (account_id, object_id)
    )
    """,
    "CREATE INDEX objects_by_kind ON objects (account_id, kind, object_id)",
    """
    CREATE TABLE journal (
        account_id TEXT NOT NULL,
        seq BIGINT NOT NULL,
        machine TEXT NOT NULL,
        object_id TEXT NOT NULL,
        from_state TEXT,
        to_state TEXT NOT NULL,
        event_id TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        commands JSONB DEFAULT '[]' NOT NULL,
        note TEXT,
        PRIMARY KEY (account_id, seq)
    )
    """,
    "COMMENT ON COLUMN journal.commands IS 'ids of the commands issued'",
    "CREATE INDEX journal_by_event ON journal (account_id, event_id)",
    "CREATE INDEX journal_by_time ON journal (at, account_id, seq)",
    """
    CREATE TABLE outbox (
        account_id TEXT NOT NULL,
        command_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        intent TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        params JSONB NOT NULL,
        amount BIGINT,
        currency TEXT,
        status TEXT NOT NULL,
        attempts INTEGER DEFAULT 0 NOT NULL,
        due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        lease_token UUID,
        lease_until TIMESTAMP WITH TIME ZONE,
        object_id TEXT,
        request_id TEXT,
        error JSONB,
        caused_by TEXT NOT NULL,
        first_call_at TIMESTAMP WITH TIME ZONE,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (account_id, command_id)
    )
    """,
    "COMMENT ON COLUMN outbox.amount IS 'minor units that this command moves; null when it moves none'",
    "COMMENT ON COLUMN outbox.status IS 'pending in_flight unknown settled rejected parked'",
    "CREATE INDEX outbox_by_creation ON outbox (created_at, account_id, command_id)",
    "CREATE INDEX outbox_by_id ON outbox (command_id)",
    "CREATE INDEX outbox_due ON outbox (due_at, account_id) WHERE status IN ('pending', 'in_flight', 'unknown')",
    "CREATE INDEX outbox_parked ON outbox (account_id, command_id) WHERE status = 'parked'",
    "CREATE INDEX outbox_moved ON outbox (account_id, first_call_at) WHERE amount IS NOT NULL",
    """
    CREATE TABLE decisions (
        account_id TEXT NOT NULL,
        authorization_id TEXT NOT NULL,
        request_event_id TEXT NOT NULL,
        card_id TEXT,
        approved BOOLEAN NOT NULL,
        reason TEXT NOT NULL,
        amount BIGINT NOT NULL,
        currency TEXT NOT NULL,
        requested BIGINT NOT NULL,
        inputs JSONB DEFAULT '{}' NOT NULL,
        took_us INTEGER NOT NULL,
        stripe_reason TEXT,
        stripe_approved BOOLEAN,
        decided_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (account_id, authorization_id, request_event_id)
    )
    """,
    "CREATE INDEX decisions_by_card ON decisions (account_id, card_id, decided_at)",
    "CREATE INDEX decisions_by_time ON decisions (decided_at, request_event_id)",
    """
    CREATE TABLE rejections (
        id BIGINT GENERATED BY DEFAULT AS IDENTITY,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        code TEXT NOT NULL,
        detail JSONB DEFAULT '{}' NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE api_keys (
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        prefix TEXT NOT NULL,
        hash BYTEA NOT NULL,
        scope TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE,
        revoked_at TIMESTAMP WITH TIME ZONE,
        last_used_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (id)
    )
    """,
    "CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (hash)",
    """
    CREATE TABLE idempotency (
        key_id TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint BYTEA NOT NULL,
        status INTEGER,
        body JSONB,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (key_id, key)
    )
    """,
    """
    CREATE TABLE operator_actions (
        id BIGINT GENERATED BY DEFAULT AS IDENTITY,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        who TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        reason TEXT,
        result JSONB DEFAULT '{}' NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE brakes (
        step TEXT NOT NULL,
        reason TEXT NOT NULL,
        by TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (step)
    )
    """,
    "COMMENT ON COLUMN brakes.step IS 'all, or a kind of command'",
    """
    CREATE TABLE replays (
        id TEXT NOT NULL,
        state TEXT NOT NULL,
        mode TEXT NOT NULL,
        filter JSONB NOT NULL,
        rate INTEGER NOT NULL,
        reason TEXT NOT NULL,
        by TEXT NOT NULL,
        total BIGINT DEFAULT 0 NOT NULL,
        done BIGINT DEFAULT 0 NOT NULL,
        failed BIGINT DEFAULT 0 NOT NULL,
        cursor JSONB,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE heartbeats (
        worker TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (worker)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
