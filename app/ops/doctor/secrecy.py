"""Whether personal data is protected by a key that only we have."""

from app.ops.doctor.check import Check
from app.ops.parts import Parts
from app.sealing import DEVELOPMENT, SETTING
from app.store import data_keys
from app.store.db import Connection


async def look(conn: Connection, parts: Parts) -> Check:
    """The setting, and what wraps the data keys. The local sandbox has nothing to protect."""
    settings = parts.settings
    if not settings.encryption_keys:
        says = f"{SETTING} is not set: personal data is sealed with a key that anyone knows"
        if settings.uses_sandbox:
            return Check(check="encryption", state="ok", says=f"{says}, which is enough for the sandbox")
        do = f"set {SETTING}=2026:$(openssl rand -base64 32), start again, then cardrail encryption rewrite --yes"
        return Check(check="encryption", state="wrong" if settings.livemode else "warning", says=says, do=do)
    known = await data_keys.every(conn)
    weak = [str(row["id"]) for row in known if row["wrapped_by"] == DEVELOPMENT]
    if weak:
        says = (
            f"data key {', '.join(weak)} is wrapped with a key that anyone knows; it was made before {SETTING} was set"
        )
        do = "cardrail encryption rotate --yes; cardrail encryption rewrite --yes"
        return Check(check="encryption", state="wrong" if settings.livemode else "warning", says=says, do=do)
    return Check(
        check="encryption", state="ok", says=f"{len(known)} data keys, the newest by {known[-1]['wrapped_by']}"
    )
