"""The schema, declared once; migrations are proven equal to it by a test.

Rule: ``account_id`` comes first in every key of a table that grows with use, so the same schema can be distributed by
account. Platform-level rows carry the platform's own account id. JSON is jsonb, except where it may hold personal data:
those columns (``store.sealed`` names them) are sealed bytes. The payload stays what was signed, to the byte.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
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

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default=text("'enrolled'")),
    time("since", now=True),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    Column("seq", BigInteger, nullable=False, server_default=text("0"), comment="last journal line written"),
    Column("applied", BigInteger, nullable=False, server_default=text("0"), comment="events applied so far"),
    Column("programme", Text),
    Column("country", Text),
    Column("enrolled", Boolean, nullable=False, server_default=text("false")),
    Column("hold", JSONB(none_as_null=True), comment="{by, reason, at} while automation is stopped for this account"),
    Column("facts", JSONB, nullable=False, server_default=text("'{}'")),
    Column("lease_token", Uuid),
    time("lease_until", nullable=True),
    time("created_at", now=True),
    time("updated_at", now=True),
    Index("accounts_by_state", "state", "account_id"),
    Index(
        "accounts_negative",
        "account_id",
        postgresql_where=text("jsonb_path_exists(facts, '$.balance.available.* ? (@ < 0)')"),
    ),
)

events = Table(
    "events",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("source", Text, nullable=False, comment="webhook response poll request timer"),
    Column("type", Text, nullable=False),
    Column("kind", Text, nullable=False, comment="snapshot thin internal"),
    time("created"),
    time("received_at", now=True),
    Column("payload", LargeBinary, comment="sealed"),
    Column("fetched", LargeBinary, comment="sealed; readings kept beside it: {url: object or {missing: code}}"),
    Column("twin_id", Text),
    Column("caused_by", Text, comment="event or command this event came from"),
    Column("status", Text, nullable=False, comment="pending applied ignored parked"),
    count("attempts"),
    time("due_at", now=True),
    Column("error", JSONB(none_as_null=True), comment="{code, message}"),
    Column("applied_seq", BigInteger),
    time("applied_at", nullable=True),
    count("deliveries", 1),
    Column("programme", Text, comment="fingerprint of the programme it was folded under"),
    Index("events_pending", "account_id", "due_at", postgresql_where=text("status = 'pending'")),
    Index("events_parked", "account_id", "event_id", postgresql_where=text("status = 'parked'")),
    Index("events_by_name", "event_id", postgresql_ops={"event_id": "text_pattern_ops"}),
    Index("events_by_arrival", "received_at", "event_id"),
    Index("events_twins", "account_id", "twin_id", postgresql_where=text("twin_id IS NOT NULL")),
)

objects = Table(
    "objects",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("object_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    time("observed_at"),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    time("created_at", now=True),
    time("updated_at", now=True),
    Index("objects_by_kind", "account_id", "kind", "object_id"),
    Index(
        "objects_debits",
        "account_id",
        text("(data ->> 'authorization')"),
        postgresql_where=text("kind = 'received_debit'"),
    ),
    Index(
        "objects_to_poll",
        "updated_at",
        "account_id",
        "object_id",
        postgresql_where=text(
            "kind = 'outbound_setup_intent' AND state IN ('requires_payout_method', 'requires_action')"
        ),
    ),
)

links = Table(
    "links",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("object_id", Text, primary_key=True),
    Column("linked_id", Text, primary_key=True),
    Index("links_back", "account_id", "linked_id", "object_id"),
)

programmes = Table(
    "programmes",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("body", JSONB, nullable=False),
    time("created_at", now=True),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column(
        "applied_seq", BigInteger, nullable=False, server_default=text("0"), comment="the last event folded into it"
    ),
    Column(
        "seq", BigInteger, nullable=False, server_default=text("0"), comment="the last journal line of those events"
    ),
    Column("facts", JSONB, nullable=False, server_default=text("'{}'")),
    time("created_at", now=True),
    time("updated_at", now=True),
)

checkpoint_objects = Table(
    "checkpoint_objects",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("object_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    time("observed_at"),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
)

journal = Table(
    "journal",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("machine", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    time("at"),
    Column("commands", JSONB, nullable=False, server_default=text("'[]'"), comment="ids of the commands issued"),
    Column("note", Text),
    Column(
        "txid",
        BigInteger,
        nullable=False,
        server_default=text("pg_current_xact_id()::text::bigint"),
        comment="transaction that wrote the line: with account_id and seq its place in the stream of all accounts",
    ),
    Index("journal_by_event", "account_id", "event_id"),
    Index("journal_by_place", "txid", "account_id", "seq"),
    Index("journal_by_time", "at", postgresql_using="brin"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("command_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("params", LargeBinary, nullable=False, comment="sealed"),
    Column("amount", BigInteger, comment="minor units that this command moves; null when it moves none"),
    Column("currency", Text),
    Column("status", Text, nullable=False, comment="pending in_flight unknown settled rejected parked"),
    count("attempts"),
    time("due_at", now=True),
    Column("lease_token", Uuid),
    time("lease_until", nullable=True),
    Column("object_id", Text),
    Column("request_id", Text),
    Column("error", JSONB(none_as_null=True)),
    Column("caused_by", Text, nullable=False),
    time("first_call_at", nullable=True),
    time("created_at", now=True),
    time("updated_at", now=True),
    Index(
        "outbox_due",
        "due_at",
        "account_id",
        postgresql_where=text("status IN ('pending', 'in_flight', 'unknown')"),
    ),
    Index("outbox_unsettled", "account_id", "due_at", postgresql_where=text("status <> 'settled'")),
    Index("outbox_by_id", "command_id"),
    Index("outbox_parked", "account_id", "command_id", postgresql_where=text("status = 'parked'")),
    Index("outbox_by_creation", "created_at", "account_id", "command_id"),
    Index("outbox_moved", "account_id", "first_call_at", postgresql_where=text("amount IS NOT NULL")),
    Index(
        "outbox_moved_by_day",
        "first_call_at",
        postgresql_include=["amount"],
        postgresql_where=text("amount IS NOT NULL AND (status <> 'rejected' OR error ->> 'code' = 'discarded')"),
    ),
    Index(
        "outbox_ended",
        "kind",
        "updated_at",
        postgresql_where=text("status IN ('settled', 'rejected', 'parked')"),
    ),
)

balances = Table(
    "balances",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("object_id", Text, primary_key=True),
    Column("day", Date, primary_key=True, comment="UTC"),
    Column("at", DateTime(timezone=True), nullable=False, comment="the last reading of that day"),
    Column("balance", JSONB, nullable=False),
)

ledger_reads = Table(
    "ledger_reads",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column(
        "changed_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=text("now()"),
        comment="when a transaction last changed",
    ),
    Column("due_at", DateTime(timezone=True), comment="when the entries are to be read; null when all are here"),
    Column("until", DateTime(timezone=True), comment="creation of the newest entry read"),
    count("tries"),
    Index("ledger_reads_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
)

decisions = Table(
    "decisions",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("authorization_id", Text, primary_key=True),
    Column("request_event_id", Text, primary_key=True),
    Column("card_id", Text),
    Column("approved", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("requested", BigInteger, nullable=False),
    Column("inputs", JSONB, nullable=False, server_default=text("'{}'")),
    Column("took_us", Integer, nullable=False),
    Column("stripe_reason", Text),
    Column("stripe_approved", Boolean),
    time("decided_at", now=True),
    Index("decisions_by_card", "account_id", "card_id", "decided_at"),
    Index("decisions_by_time", "decided_at", "request_event_id"),
    Index("decisions_by_authorization", "authorization_id"),
    Index(
        "decisions_mismatched",
        "decided_at",
        "request_event_id",
        postgresql_where=text(
            "stripe_approved IS NOT NULL"
            " AND (stripe_approved <> approved OR stripe_reason IN ('webhook_timeout', 'webhook_error'))"
        ),
    ),
)

decision_turns = Table(
    "decision_turns",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("turn", BigInteger, nullable=False, comment="grows with every decision of the account"),
)
