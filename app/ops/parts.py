"""What an operator's procedure works with: the running parts it is handed, whoever opened them.

A procedure names what it needs here and builds nothing, so the CLI, the API and the worker run the same code.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from app.config import Settings
from app.machines.programme import Programme
from app.store.db import Pool
from app.stripe.client import Stripe


class Parts(Protocol):
    """The parts of ``wiring.Services`` that procedures use."""

    @property
    def settings(self) -> Settings: ...
    @property
    def pool(self) -> Pool: ...
    @property
    def stripe(self) -> Stripe: ...
    @property
    def programme(self) -> Programme: ...
    @property
    def platform_account(self) -> str: ...
    @property
    def platform_financial_account(self) -> str | None: ...
    @property
    def clock(self) -> Callable[[], int]: ...


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for an operation, and why. ``key`` is the id of the API key, or who is at the command line."""

    who: str
    reason: str
    key: str = ""
