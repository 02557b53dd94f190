"""One thing that the doctor looked at, and how it is told."""

from typing import Any, Literal

import msgspec

State = Literal["ok", "warning", "wrong"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """``state``: ok, warning (look at it) or wrong (the service does not do its duty). ``do``: what would help."""

    check: str
    state: State
    says: str
    do: str = ""


def shown(check: Check) -> dict[str, Any]:
    """As plain data."""
    return msgspec.structs.asdict(check)


def wrong(found: list[Check]) -> bool:
    """Whether something needs to be done."""
    return any(check.state == "wrong" for check in found)


def worse_than(value: float, warning: float, wrong_: float) -> State:
    """``ok`` below ``warning``, ``wrong`` from ``wrong_`` on."""
    return "wrong" if value >= wrong_ else "warning" if value >= warning else "ok"
