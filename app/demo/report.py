"""The demo's end: a summary as a table or as data, and the list of what is off."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from app.demo.fleet import PURCHASES, Drive, off

BOOKS_S = 30.0
"""How long the service may take to read the last entries of the ledger."""


async def summary(drive: Drive, ledger: dict[str, Any], restarts: int, took_s: float) -> dict[str, Any]:
    """Everything a reader wants to know, as data. ``problems`` is empty when all is as it must be."""
    events = await drive.everything("/v1/events")
    commands = await drive.everything("/v1/commands")
    problems = [
        f"{m.account or m.reference}: {m.state} instead of {m.end}: {_why(m.detail)}"
        for m in drive.members
        if not m.done
    ]
    books = await drive.books(BOOKS_S)
    problems += [wrong for one in books if (wrong := off(one))]
    money = _money(drive, books)
    problems += await _fundings(drive)
    if money["in"] != money["held"] + money["spent"] + money["fees"]:
        problems.append(f"books: in {money['in']} is not held {money['held']} + spent {money['spent']} + fees")
    if not ledger.get("balanced"):
        problems.append("the sandbox's ledger does not balance")
    problems += [f"event {e['id']} is parked: {e['error']}" for e in events if e["status"] == "parked"]
    problems += [f"command {c['id']} is {c['status']}: {c['error']}" for c in commands if c["status"] != "settled"]
    webhooks = [e for e in events if e["source"] == "webhook" and ":" not in e["id"]]
    return {
        "accounts": dict(Counter(m.state for m in drive.members)),
        "events": {
            "received": sum(e["deliveries"] for e in webhooks),
            "distinct": len(webhooks),
            "duplicates": sum(e["deliveries"] - 1 for e in webhooks),
            "by_status": dict(Counter(e["status"] for e in events)),
        },
        "commands": {
            "sent": len(commands),
            "retries": sum(max(0, c["attempts"] - 1) for c in commands),
            "by_kind": dict(Counter(c["kind"] for c in commands)),
        },
        "money": money,
        "restarts": restarts,
        "took_s": round(took_s, 1),
        "problems": problems,
    }


def _money(drive: Drive, books: list[dict[str, Any]]) -> dict[str, int]:
    """USDC cents over the fleet: what came in and is held, by the books; what was spent, by the merchants. No fees here."""
    total = {"in": 0, "held": 0, "spent": sum(sum(PURCHASES[: m.purchased]) for m in drive.members), "fees": 0}
    names = {m.account for m in drive.members}
    for one in books:
        days = [d for d in one.get("days", ()) if d["currency"] == "usdc"] if one["account"] in names else []
        total["in"] += sum(d["in"] for d in days)
        total["held"] += sum(days[-1]["closing"].values()) if days else 0
    return total


async def _fundings(drive: Drive) -> list[str]:
    """Accounts that were not funded by exactly as many payments as they need."""
    members = [m for m in drive.members if m.account is not None and m.end != "restricted"]
    made = [(m, len(await drive.objects(m, "outbound_payment"))) for m in members]
    return [f"{m.account}: {n} funding payments instead of {m.fundings}" for m, n in made if n != m.fundings]


def _why(detail: dict[str, Any]) -> str:
    waiting = detail.get("waiting_for") or {}
    return f"waits for {waiting.get('what')}, last error {detail.get('last_error')}"


def show(console: Console, found: dict[str, Any], url: str) -> None:
    """The summary for people."""
    table = Table(title=f"cardrail demo: {found['took_s']} s", show_header=False, title_justify="left")
    table.add_row("accounts", ", ".join(f"{n} {state}" for state, n in sorted(found["accounts"].items())))
    events = found["events"]
    table.add_row(
        "events received", f"{events['received']} ({events['distinct']} distinct, {events['duplicates']} duplicates)"
    )
    table.add_row("events by status", ", ".join(f"{n} {s}" for s, n in sorted(events["by_status"].items())))
    commands = found["commands"]
    table.add_row("commands", f"{commands['sent']} settled, {commands['retries']} retries")
    table.add_row("by kind", ", ".join(f"{n} {k}" for k, n in sorted(commands["by_kind"].items())))
    money = {k: f"{v / 100:,.2f}" for k, v in found["money"].items()}
    table.add_row(
        "money (USDC)", f"in {money['in']} = held {money['held']} + spent {money['spent']} + fees {money['fees']}"
    )
    if found["restarts"]:
        table.add_row("kill -9", f"{found['restarts']} times")
    console.print(table)
    for problem in found["problems"]:
        console.print(f"[red]off:[/red] {problem}", highlight=False)
    if not found["problems"]:
        console.print("[green]Every account reached its end and the books balance.[/green]")
    console.print(f"Look around with [bold]make run[/bold] (the API of this run was {url}).")
