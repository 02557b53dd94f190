"""`cardrail encryption`: the keys that protect personal data: how they stand, a new one, old rows under it."""

from typing import Any

import typer

from app.cli.desk import WHY, AsJson, WhyOption, Yes, err, out, show_json, show_rows, show_thing, would
from app.cli.ops import progress_bar, run, who
from app.ops import encryption
from app.sealing import SETTING
from app.wiring import Services

app = typer.Typer(no_args_is_help=True)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Every data key, what wraps it, and how many values it seals. Counts all rows."""
    found = run(encryption.status, as_json=as_json)
    if as_json:
        show_json(found)
        return
    show_rows(found["data_keys"], ["id", "newest", "wrapped_by", "values", "created_at"], as_json=False)
    out.print(f"{found['plain']} values are not sealed.", highlight=False)
    if found["known_to_all"]:
        err.print(f"{SETTING} is not set: the key that wraps is known to all.", style="yellow")


@app.command()
def rotate(reason: WhyOption = WHY, yes: Yes = False, as_json: AsJson = False) -> None:
    """A new data key for all that is written from now on; the others wrapped with the first key of the setting."""
    if not yes:
        would(
            f"make a new data key, and wrap the others with the first key of {SETTING}; every process follows within"
            " half a minute",
            as_json=as_json,
        )
        return

    async def work(services: Services) -> dict[str, Any]:
        return await encryption.rotate(services, who(reason))

    show_thing(run(work, as_json=as_json), as_json=as_json)


@app.command()
def rewrite(reason: WhyOption = WHY, yes: Yes = False, as_json: AsJson = False) -> None:
    """Seal older rows anew with the newest data key, beside the running service."""
    if not yes:
        found = run(encryption.status, as_json=as_json)
        old = found["plain"] + sum(key["values"] for key in found["data_keys"] if not key["newest"])
        would(f"seal {old} values anew with the newest data key", as_json=as_json)
        return
    progress, moved = progress_bar("rewriting", as_json=as_json)

    async def work(services: Services) -> dict[str, Any]:
        return await encryption.rewrite(services, who(reason), moved)

    with progress:
        done = run(work, as_json=as_json)
    show_thing(done, as_json=as_json)
