"""Readings of Stripe objects for a batch of events: once per object and batch, kept beside the event.

A reading that Stripe refuses for good parks its event with the likely cause; one that fails for now brings the event
back later. A rebuild never reads: what was read stands in the log.
"""

import asyncio
import random
from collections.abc import Callable, Mapping

import msgspec

from app.flow.retry import ATTEMPTS_MAX, backoff_s
from app.flow.work import Work
from app.machines.events import Observed
from app.store import states
from app.stripe import catalog, translate
from app.stripe.client import Missing, Reading, Stripe
from app.stripe.movements import without_numbers
from app.stripe.outcome import TryAgain
from app.stripe.translate import Poisoned, Read

READS_AT_ONCE_MAX = 16

PATHS = {
    "account": "/v2/core/accounts/",
    "financial_account": "/v2/money_management/financial_accounts/",
    "outbound_payment": "/v2/money_management/outbound_payments/",
    "outbound_transfer": "/v2/money_management/outbound_transfers/",
    "financial_address": "/v2/money_management/financial_addresses/",
    "outbound_setup_intent": "/v2/money_management/outbound_setup_intents/",
    "payout_method": "/v2/money_management/payout_methods/",
    "received_credit": "/v2/money_management/received_credits/",
    "received_debit": "/v2/money_management/received_debits/",
    "inbound_transfer": "/v2/money_management/inbound_transfers/",
    "adjustment": "/v2/money_management/adjustments/",
    "currency_conversion": "/v2/money_management/currency_conversions/",
    "transaction_entry": "/v2/money_management/transaction_entries/",
    "transaction": "/v2/money_management/transactions/",
    "cardholder": "/v1/issuing/cardholders/",
    "card": "/v1/issuing/cards/",
    "authorization": "/v1/issuing/authorizations/",
    "issuing_transaction": "/v1/issuing/transactions/",
    "dispute": "/v1/issuing/disputes/",
    "token": "/v1/issuing/tokens/",
    "personalization_design": "/v1/issuing/personalization_designs/",
}
"""Where the live object of a kind is read when no declared move explains what was seen."""


class Reader:
    """Reads what the events of a batch need to be understood."""

    def __init__(
        self,
        stripe: Stripe,
        *,
        platform: str,
        vocabulary: str,
        clock: Callable[[], int],
        platform_financial_account: str | None = None,
    ) -> None:
        self._stripe = stripe
        self._platform = platform
        self._vocabulary = vocabulary
        self._platform_financial_account = platform_financial_account
        self._clock = clock
        self._rng = random.Random()

    async def read(self, work: list[Work], known: Mapping[str, states.Row]) -> None:
        """Fetch what :meth:`plan` finds, once per object and batch."""
        self.plan(work, known)
        await self._fetch(work)

    def plan(self, work: list[Work], known: Mapping[str, states.Row]) -> None:
        """Note what is to be read: what thin events point to, and the balance where it may have changed."""
        for one in work:
            one.reads = ()
            if one.stored.kind != "thin" or one.status != "applied":
                continue
            try:
                reads = translate.reads(one.stored, vocabulary=self._vocabulary)
            except Poisoned as error:
                one.status, one.error = "parked", {"code": error.code, "message": error.message}
            else:
                one.reads = tuple(read for read in reads if read.url not in (one.stored.fetched or {}))
        self._balance_reads(work, known)

    def _balance_reads(self, work: list[Work], known: Mapping[str, states.Row]) -> None:
        last: dict[str, Work] = {}
        for one in work:
            if one.status == "applied" and _moves_balance(one.stored.type):
                last[one.stored.account_id] = one
        for account, one in last.items():
            facts = known[account]["facts"]
            own = ((facts or {}).get("financial_account") or {}).get("id")
            if account == self._platform:
                own = self._platform_financial_account or own
            if own:
                context = None if account == self._platform else account
                read = Read(
                    url=PATHS["financial_account"] + own,
                    context=context,
                    include=(),
                    event_id=translate.trigger(one.stored),
                    beside=True,
                )
                if read.url not in (one.stored.fetched or {}):
                    one.reads = (*one.reads, read)

    async def _fetch(self, work: list[Work]) -> None:
        wanted: dict[tuple[str, str | None], Read] = {}
        for one in work:
            for read in one.reads:
                wanted.setdefault((read.url, read.context), read)
        if not wanted:
            return
        limit = asyncio.Semaphore(READS_AT_ONCE_MAX)

        async def get(read: Read) -> tuple[int, Reading | Missing | TryAgain]:
            async with limit:
                at = self._clock()
                answer = await self._stripe.read(
                    read.url, context=read.context, include=read.include, event_id=read.event_id
                )
                return at, answer

        answers = dict(zip(wanted, await asyncio.gather(*(get(r) for r in wanted.values())), strict=True))
        for one in work:
            for read in one.reads:
                self._keep(one, read, *answers[read.url, read.context])

    def _keep(self, one: Work, read: Read, at: int, answer: Reading | Missing | TryAgain) -> None:
        kept = dict(one.stored.fetched or {})
        match answer:
            case Reading():
                kept[read.url] = {"at": at, "object": without_numbers(answer.object)}
            case Missing() if answer.status in (403, 404) and read.beside:
                kept[read.url] = {"at": at, "missing": {"status": answer.status, "code": answer.code}}
            case Missing():
                cause = "not visible in this context: is Stripe-Context right, and may this key read it?"
                message = f"{answer.status} {answer.code} reading {read.url} in context {read.context}: {cause}"
                one.status, one.error, one.attempted = "parked", {"code": "object_missing", "message": message}, 1
                return
            case TryAgain():
                one.attempted = 1
                one.error = {"code": answer.code, "message": answer.message}
                one.status = "pending" if one.attempts + 1 < ATTEMPTS_MAX else "parked"
                one.due_s = backoff_s(one.attempts + 1, self._rng, retry_after_s=answer.retry_after_s)
                return
        one.stored = msgspec.structs.replace(one.stored, fetched=kept)
        one.fetched_new = True

    async def settle_refusals(self, again: list[tuple[Work, Observed]]) -> None:
        """Read the live object of everything a machine refused: that reading wins."""
        work: dict[str, Work] = {}
        for one, seen in again:
            path = PATHS.get(seen.kind)
            if path is None:
                continue
            own = one.stored.account_id
            context = None if own == self._platform or seen.kind == "account" else own
            one.reads = (
                Read(url=path + seen.object_id, context=context, include=(), event_id=translate.trigger(one.stored)),
            )
            work[one.stored.account_id + one.stored.event_id] = one
        await self._fetch(list(work.values()))


def _moves_balance(event_type: str) -> bool:
    """Whether the financial account's balance may be another one after such an event."""
    entry = catalog.lookup(event_type)
    return event_type == "command.settled" or (entry is not None and entry.balance)
