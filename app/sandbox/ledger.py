"""Double entry: money is never made or lost, only moved between named accounts of one currency.

Names: ``fa:<id>:available|inbound_pending|outbound_pending`` for what customers own, ``world:<place>`` for the outside
(banks, chains, card network) and for currency conversion. Every posting sums to zero per currency, so the whole does.
"""

from collections import defaultdict
from collections.abc import Iterable

Leg = tuple[str, str, int]
"""(account, currency, signed minor units)"""
PARTS = ("available", "inbound_pending", "outbound_pending")


class Unbalanced(ValueError):
    """A posting that would make or lose money: a bug of the sandbox."""


class Ledger:
    """All balances. Memory only."""

    def __init__(self) -> None:
        self.balances: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.postings = 0

    def post(self, legs: Iterable[Leg]) -> None:
        """Apply all legs, or raise Unbalanced and apply none."""
        listed = list(legs)
        sums: defaultdict[str, int] = defaultdict(int)
        for _, currency, amount in listed:
            sums[currency] += amount
        if any(sums.values()):
            raise Unbalanced(f"{dict(sums)} in {listed}")
        for account, currency, amount in listed:
            self.balances[account, currency] += amount
        self.postings += 1

    def available(self, financial_account: str, currency: str) -> int:
        """What may be spent, in minor units."""
        return self.balances.get((f"fa:{financial_account}:available", currency), 0)

    def balance(self, financial_account: str, currencies: Iterable[str]) -> dict[str, dict[str, dict[str, object]]]:
        """The ``balance`` field of a financial account; currencies at zero are left out, save in ``available``."""
        found: dict[str, dict[str, dict[str, object]]] = {}
        for part in PARTS:
            amounts = {c: self.balances.get((f"fa:{financial_account}:{part}", c), 0) for c in currencies}
            found[part] = {c: {"value": v, "currency": c} for c, v in amounts.items() if v or part == "available"}
        return found

    def proof(self) -> dict[str, object]:
        """Every account and the sum per currency, which is zero when the books balance."""
        sums: defaultdict[str, int] = defaultdict(int)
        accounts: dict[str, dict[str, int]] = {}
        for (account, currency), amount in sorted(self.balances.items()):
            sums[currency] += amount
            accounts.setdefault(account, {})[currency] = amount
        return {
            "accounts": accounts,
            "sums": dict(sums),
            "balanced": not any(sums.values()),
            "postings": self.postings,
        }
