import httpx
import pytest

from app.wiring import Services
from tests.web.conftest import add_account

FACTS = {
    "enrolled": True,
    "state": "live",
    "seen": True,
    "capabilities": {"money_manager.business_storage.inbound.usdc": {"status": "active"}},
    "financial_account": {"id": "fa_1", "status": "open"},
    "balance": {"available": {"usdc": 9000}, "outbound_pending": {"usdc": 10}, "at": 1_790_000_000_000},
    "cards": {"ic_1": {"id": "ic_1", "status": "active"}, "ic_2": {"id": "ic_2", "status": "canceled"}},
    "reference": "customer-42",
}


async def test_an_account_shows_where_it_stands(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1", facts=FACTS, version=7)
    answer = await api.get("/v1/accounts/acct_1")
    seen = answer.json()
    assert answer.headers["etag"]
    assert (seen["id"], seen["state"], seen["version"], seen["country"], seen["held"]) == (
        "acct_1",
        "live",
        7,
        "MX",
        None,
    )
    assert seen["capabilities"] == {"money_manager.business_storage.inbound.usdc": "active"}
    assert seen["financial_account"] == {"id": "fa_1", "status": "open"}
    assert seen["balance"]["available"] == {"value": 9000, "currency": "usdc"}
    assert seen["balance"]["inbound_pending"] == {"value": 0, "currency": "usdc"}
    assert (seen["card_count"], seen["waiting_for"], seen["last_error"]) == (1, None, None)
    assert seen["since"].endswith("Z")


async def test_pages_neither_repeat_nor_skip(api: httpx.AsyncClient, services: Services) -> None:
    for i in range(7):
        await add_account(services.pool, f"acct_{i}")
    await add_account(services.pool, "acct_platform")
    seen: list[str] = []
    query: dict[str, str] | None = {"limit": "3"}
    while query is not None:
        answer = (await api.get("/v1/accounts", params=query)).json()
        seen += [row["id"] for row in answer["data"]]
        query = {"limit": "3", "cursor": answer["next_cursor"]} if answer["next_cursor"] else None
    assert seen == [f"acct_{i}" for i in range(7)]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x"])
async def test_a_wrong_limit_is_refused(api: httpx.AsyncClient, query: str) -> None:
    assert (await api.get(f"/v1/accounts?{query}")).status_code == 422


@pytest.mark.parametrize("cursor", ["x", "W10", "WzFd", "%00", "eyJhIjoxfQ"])
@pytest.mark.parametrize(
    "path", ["/v1/accounts", "/v1/events", "/v1/commands", "/v1/authorizations", "/v1/enrollments"]
)
async def test_a_cursor_of_another_list_is_refused(api: httpx.AsyncClient, path: str, cursor: str) -> None:
    answer = await api.get(f"{path}?cursor={cursor}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


async def test_filters_choose_accounts(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_a", state="live", country="AR")
    await add_account(
        services.pool, "acct_b", state="funding", hold={"by": "me", "reason": "r", "at": 1_790_000_000_000}
    )
    await add_account(services.pool, "acct_c", state="funding")
    await services.pool.execute("UPDATE accounts SET since = now() - interval '2 days' WHERE account_id = 'acct_c'")

    async def ids(query: str) -> list[str]:
        return [row["id"] for row in (await api.get(f"/v1/accounts?{query}")).json()["data"]]

    assert await ids("state=funding") == ["acct_b", "acct_c"]
    assert await ids("country=ar") == ["acct_a"]
    assert await ids("held=true") == ["acct_b"]
    assert await ids("stuck=true") == ["acct_c"]
    assert await ids("stuck=false") == ["acct_a", "acct_b"]


async def test_journal_and_objects_are_listed(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    for seq in (1, 2, 3):
        await services.pool.execute(
            "INSERT INTO journal (account_id, seq, machine, object_id, from_state, to_state, event_id, at, commands)"
            " VALUES ('acct_1', $1, 'lifecycle', 'acct_1', NULL, 'live', 'evt_1', now(), $2)",
            seq,
            ["cmd_1"],
        )
    for name, kind in (("ic_1", "card"), ("fa_1", "financial_account")):
        await services.pool.execute(
            "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
            " VALUES ('acct_1', $1, $2, 'active', $3, now())",
            name,
            kind,
            {"last4": "4242", "state": "shadowed"},
        )
    page = (await api.get("/v1/accounts/acct_1/journal?limit=2")).json()
    assert [line["seq"] for line in page["data"]] == [1, 2]
    assert page["data"][0]["from"] is None
    assert page["data"][0]["commands"] == ["cmd_1"]
    rest = (await api.get(f"/v1/accounts/acct_1/journal?cursor={page['next_cursor']}")).json()
    assert ([line["seq"] for line in rest["data"]], rest["next_cursor"]) == ([3], None)
    things = (await api.get("/v1/accounts/acct_1/objects?kind=card")).json()["data"]
    assert [(t["id"], t["kind"], t["state"], t["last4"]) for t in things] == [("ic_1", "card", "active", "4242")]
    for path in ("", "/journal", "/objects", "/objects/ic_1", "/stream"):
        assert (await api.get(f"/v1/accounts/acct_nobody{path}")).status_code == 404
