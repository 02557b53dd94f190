"""The tables that the service keeps for itself, beside the accounts and their logs: keys, jobs, brakes, notices."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.store.columns import count, metadata, time

rejections = Table(
    "rejections",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    time("at", now=True),
    Column("code", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'")),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("scope", Text, nullable=False),
    time("created_at", now=True),
    time("expires_at", nullable=True),
    time("revoked_at", nullable=True),
    time("last_used_at", nullable=True),
    Index("api_keys_by_hash", "hash", unique=True),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", Integer),
    Column("body", LargeBinary, comment="sealed"),
    time("created_at", now=True),
    Column("lease_token", Uuid),
    time("lease_until", nullable=True),
    Index("idempotency_by_creation", "created_at"),
)

operator_actions = Table(
    "operator_actions",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    time("at", now=True),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("reason", Text),
    Column("result", JSONB, nullable=False, server_default=text("'{}'")),
)

brakes = Table(
    "brakes",
    metadata,
    Column("step", Text, primary_key=True, comment="all, or a kind of command"),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False, comment="cardrail where it was set by itself"),
    time("at", now=True),
    time("released_at", nullable=True),
    Column("released_by", Text),
    Column("release_reason", Text),
)

replays = Table(
    "replays",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("filter", JSONB, nullable=False),
    Column("rate", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("total", BigInteger, nullable=False, server_default=text("0")),
    Column("done", BigInteger, nullable=False, server_default=text("0")),
    Column("failed", BigInteger, nullable=False, server_default=text("0")),
    Column("cursor", JSONB(none_as_null=True)),
    Column("dry_run", Boolean, nullable=False, server_default=text("false")),
    Column("forecast", JSONB(none_as_null=True), comment="what it would do; complete when all was looked at"),
    Column("by_key", Text, comment="id of the API key that asked, or who was at the command line"),
    Column("confirmed_by", Text),
    Column("confirmed_key", Text, comment="another key than by_key"),
    time("confirmed_at", nullable=True),
    time("created_at", now=True),
    time("updated_at", now=True),
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("wrapped_by", Text, nullable=False, comment="id of the key-encryption key in the settings"),
    time("created_at", now=True),
)

ended_sessions = Table(
    "ended_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    time("until"),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("worker", Text, primary_key=True),
    time("at", now=True),
)

watermarks = Table(
    "watermarks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, comment="up to when nothing is missing"),
    time("updated_at", now=True),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("description", Text),
    Column("types", ARRAY(Text), nullable=False, comment="types of notices wanted; * and card.* are wildcards"),
    Column("accounts", ARRAY(Text), comment="only of these accounts; null: of all"),
    Column("secret", LargeBinary, nullable=False, comment="sealed"),
    Column("secret_before", LargeBinary, comment="sealed; signs too until secret_before_until"),
    time("secret_before_until", nullable=True),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("disabled_reason", Text),
    time("failing_since", nullable=True),
    Column("cursor_txid", BigInteger, nullable=False, comment="with account and seq the last journal line looked at"),
    Column("cursor_account", Text, nullable=False),
    Column("cursor_seq", BigInteger, nullable=False),
    time("created_at", now=True),
    time("updated_at", now=True),
)

notices = Table(
    "notices",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("notice_id", Text, primary_key=True, comment="the webhook-id, the same in every attempt and replay"),
    Column("subscription_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column(
        "status", Text, nullable=False, server_default=text("'pending'"), comment="pending in_flight delivered failed"
    ),
    count("attempts"),
    time("due_at", now=True),
    Column("lease_token", Uuid),
    Column("response_code", Integer),
    Column("error", Text),
    time("delivered_at", nullable=True),
    time("created_at", now=True),
    time("updated_at", now=True),
    Index("notices_due", "subscription_id", "due_at", postgresql_where=text("status IN ('pending', 'in_flight')")),
    Index("notices_by_creation", "subscription_id", "created_at", "notice_id"),
    Index("notices_by_id", "notice_id"),
)
