"""A small Stripe that remembers: stateful, over HTTP only, for tests, demos and work without a network.

It plays the calls of a stablecoin card programme (Accounts v2, money management v2, Issuing v1): with idempotency,
contexts, both API vocabularies, a double-entry ledger, signed webhooks with retries, and faults on demand. Start it
with ``python -m app.sandbox --port 0`` and point ``base_addresses={"api": url}`` of the SDK at it. Magic values are in
``scenarios.py``, control routes in ``control.py``.
"""

from app.sandbox.server import create_app, run
from app.sandbox.settings import DestinationSettings, SandboxSettings

__all__ = ["DestinationSettings", "SandboxSettings", "create_app", "run"]
