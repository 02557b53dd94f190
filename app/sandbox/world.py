"""The world: every object, whose it is, the books, the events and the steps still to come.

Objects are reached by (kind, id) and belong to one account; another account's object does not exist for the caller.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from app.sandbox.calls import Call, Json, Record
from app.sandbox.clock import Ids, rfc3339, unix
from app.sandbox.errors import not_found
from app.sandbox.eventlog import EventLog
from app.sandbox.faults import Faults
from app.sandbox.idempotency import Keys
from app.sandbox.ledger import Ledger
from app.sandbox.settings import SandboxSettings
from app.sandbox.webhooks import Dispatcher

_log = logging.getLogger(__name__)

PREFIXES = {
    "v2.core.account": "acct_",
    "v2.core.account_person": "person_test_",
    "v2.core.account_link": "acctlink_",
    "v2.core.event_destination": "ed_test_",
    "webhook_endpoint": "we_",
    "v2.money_management.financial_account": "fa_test_",
    "v2.money_management.financial_address": "finaddr_test_",
    "v2.money_management.outbound_payment": "obp_test_",
    "v2.money_management.outbound_transfer": "obt_test_",
    "v2.money_management.outbound_setup_intent": "osi_test_",
    "v2.money_management.received_credit": "rc_test_",
    "v2.money_management.received_debit": "rd_test_",
    "v2.money_management.inbound_transfer": "ibt_test_",
    "v2.money_management.adjustment": "adj_test_",
    "v2.money_management.currency_conversion": "cnvr_test_",
    "v2.money_management.transaction": "trxn_test_",
    "v2.money_management.transaction_entry": "trxne_test_",
    "issuing.cardholder": "ich_",
    "issuing.card": "ic_",
    "issuing.authorization": "iauth_",
    "issuing.transaction": "ipi_",
    "issuing.dispute": "idp_",
    "issuing.token": "intok_",
    "issuing.personalization_design": "ics_",
    "issuing.physical_bundle": "icpb_",
    "issuing.program": "iprg_",
}
"""The kinds with one prefix each; payout methods have a prefix per type."""


class World:
    """All state of one sandbox. Single-threaded: handlers and steps run on one event loop and never interleave."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.ids = Ids(settings.seed)
        self.ledger = Ledger()
        self.faults = Faults(settings.seed, settings.faults)
        self.keys = Keys()
        self.records: dict[str, Record] = {}
        self.lists: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
        self.created: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.cause: Call | None = None
        self.pending_steps = 0
        self.authorization_url = settings.authorization_url
        self.authorization_secret = settings.authorization_secret
        self.authorization_default = settings.authorization_default
        self.decisions: list[Json] = []
        self.webhooks = Dispatcher(settings, self.faults)
        self.events = EventLog(settings, self.ids, self.webhooks)

    @property
    def platform(self) -> str:
        """The id of the platform's own account."""
        return self.settings.platform_account

    def add(self, kind: str, account: str, data: Json, *, ident: str | None = None, **hidden: Any) -> Record:
        """A new object: gets id, ``object``, ``created`` and ``livemode``."""
        ident = ident or self.ids.new(PREFIXES[kind])
        created = rfc3339() if kind.startswith("v2.") else unix()
        record = Record(kind, ident, account, {"id": ident, "object": kind, **data}, hidden)
        record.data.setdefault("created", created)
        record.data["livemode"] = False
        self.records[ident] = record
        self.lists[kind, account].append(record)
        self.created[kind] += 1
        return record

    def find(self, kind: str, ident: Any, account: str, api: str = "v2") -> Record:
        """The object, or ApiError 404 when there is none of this kind in this account."""
        record = self.records.get(ident) if isinstance(ident, str) else None
        if record is None or record.kind != kind or record.account != account:
            raise not_found(kind.rpartition(".")[2].replace("_", " "), str(ident), api)
        return record

    def all(self, kind: str, account: str) -> list[Record]:
        """The objects of a kind in an account, oldest first."""
        return self.lists.get((kind, account), [])

    def of_kind(self, kind: str) -> Iterable[Record]:
        """The objects of a kind in every account."""
        return (r for (k, _), records in self.lists.items() if k == kind for r in records)

    def thin(self, name: str, record: Record, data: Json | None = None, changes: Json | None = None) -> None:
        """A thin event about a v2 object: ``name`` is the full type, or ``.suffix`` of the object's own tag."""
        full = record.kind + name if name[0] in ".[" else name
        context = None if record.account == self.platform else record.account
        self.events.thin(full, record, context, data=data, changes=changes, cause=self.cause)

    def snapshot(self, name: str, record: Record, previous: Json | None = None) -> None:
        """A snapshot event about a v1 object: ``issuing_card.created`` for name ``created``."""
        full = record.kind.replace(".", "_") + "." + name
        self.events.snapshot(full, record, previous=previous, cause=self.cause)

    def later(self, step: Callable[..., None], *args: Any, delay_s: float | None = None) -> None:
        """Let Stripe do something by itself, a little later."""
        self.pending_steps += 1
        wait_s = self.settings.step_delay_s if delay_s is None else delay_s
        asyncio.get_running_loop().call_later(wait_s, self._step, step, args)

    def _step(self, step: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.cause = None
        self.pending_steps -= 1
        try:
            step(*args)
        except Exception:  # noqa: BLE001 - one failed step must not end the world; it is logged whole
            _log.exception("a step of the sandbox failed: %s", step)

    def idle(self) -> bool:
        """Whether nothing is scheduled and every webhook is delivered or given up."""
        return self.pending_steps == 0 and self.webhooks.pending == 0
