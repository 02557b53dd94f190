"""`cardrail cards` over a real database: dry first, done with --yes, and kept with who and why."""

import pytest

from app.store import links
from app.wiring import Services
from tests.ops.test_command_line import desk, noted, outcomes
from tests.test_cli import cardrail, told

__all__ = ["desk"]


async def hold_a_card(desk: Services, state: str = "active") -> None:
    await desk.pool.execute("INSERT INTO accounts (account_id, state, enrolled) VALUES ('acct_1', 'live', true)")
    await desk.pool.execute(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
        " VALUES ('acct_1', 'ic_1', 'card', $1, $2, now()), ('acct_1', 'ich_1', 'cardholder', 'active', '{}'::jsonb, now())",
        state,
        {"cardholder": "ich_1", "last4": "4242", "type": "virtual"},
    )
    async with desk.pool.acquire() as conn:
        await links.put(conn, [links.LinkRow("acct_1", "ic_1", "ich_1")])


async def test_a_card_is_found_with_what_belongs_to_it(desk: Services) -> None:
    await hold_a_card(desk)
    assert [c["last4"] for c in (await told("cards", "list", "acct_1"))["data"]] == ["4242"]
    shown = await told("cards", "show", "acct_1", "ic_1")
    assert [(link["kind"], link["id"]) for link in shown["links"]] == [("cardholder", "ich_1")]
    assert (await cardrail("cards", "show", "acct_1", "ich_1")).exit_code == 1


@pytest.mark.parametrize(
    ("verb", "reason"), [("freeze", "seen abroad"), ("thaw", "it was the holder"), ("cancel", "stolen")]
)
async def test_a_card_is_changed_only_with_yes(desk: Services, verb: str, reason: str) -> None:
    await hold_a_card(desk)
    would = await told("cards", verb, "acct_1", "ic_1", "--reason", reason)
    assert would["dry_run"] is True
    assert await desk.pool.fetchval("SELECT count(*) FROM events") == 0
    assert await noted(desk) == []
    made = await told("cards", verb, "acct_1", "ic_1", "--reason", reason, "--yes")
    assert made["state"] == "requested"
    assert (
        await desk.pool.fetchval("SELECT type FROM events WHERE event_id = $1", made["id"]) == "update_card.requested"
    )
    assert await noted(desk) == [(f"cards.{verb}", "acct_1/ic_1", reason)]


async def test_a_canceled_card_stays_canceled_and_the_attempt_is_kept(desk: Services) -> None:
    await hold_a_card(desk, "canceled")
    refused = await cardrail("cards", "thaw", "acct_1", "ic_1", "--reason", "please", "--yes")
    assert (refused.exit_code, await noted(desk)) == (1, [("cards.thaw", "acct_1/ic_1", "please")])
    assert await outcomes(desk) == [{"error": "card_canceled"}]
