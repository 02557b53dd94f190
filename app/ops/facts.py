"""The stored facts of an account as they are read outside the fold: edited by hand, they may not be facts any more.

Such an account is told as one that needs `cardrail accounts rebuild ACCT --repair`, and stands in nobody else's way.
"""

from typing import Any

import msgspec

from app.machines.lifecycle import Facts


def facts_read(raw: Any) -> Facts | None:
    """The facts; None when what is stored is none."""
    try:
        return msgspec.convert(raw or {}, Facts)
    except msgspec.ValidationError:
        return None
