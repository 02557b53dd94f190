"""The console over ASGI: who gets in, what each may see and do, and that a form does what the API does."""

import re
from collections.abc import Awaitable, Callable

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.store import keys
from app.web.main import create_app
from app.wiring import Services, open_services
from tests.patience import ends_within
from tests.web.conftest import ADMIN, add_account
from tests.web.console_desk import HOSTILE, Desk, forms, links, seed
from tests.web.test_api_operations import add_command, add_event

Sit = Callable[[str], Awaitable[Desk]]
LISTS = [
    "/console/",
    "/console/accounts",
    "/console/events",
    "/console/commands",
    "/console/parked",
    "/console/authorizations",
    "/console/brakes",
    "/console/replays",
    "/console/audit",
]
DETAILS = [
    "/console/accounts/acct_1",
    "/console/accounts/acct_2",
    "/console/accounts/acct_3",
    "/console/accounts/acct_1/objects",
    "/console/accounts/acct_1/objects/ic_1",
    "/console/events/evt_1",
    "/console/events/evt_bad",
    "/console/commands/cmd_1",
    "/console/authorizations/iauth_1",
    "/console/replays/rpl_1",
]
FILTERED = [
    "/console/accounts?state=live&country=mx&held=yes&stuck=no",
    "/console/accounts?state=nonsense",
    "/console/events?account=acct_1&status=parked&source=webhook&since=2026-01-01T00:00&until=2036-01-01T00:00",
    "/console/commands?status=parked&kind=create_card&account=acct_1",
    "/console/authorizations?approved=yes&mismatch=yes&account=acct_1",
    "/console/audit?who=nobody&target=acct_1",
]


@pytest_asyncio.fixture
async def sit(app: FastAPI, services: Services) -> Sit:
    """Somebody who logged in with a fresh key of a scope; with `admin` it is the bootstrap key."""

    async def make(scope: str) -> Desk:
        key = ADMIN
        if scope != "admin":
            async with services.pool.acquire() as conn:
                _, key = await keys.create(conn, name=f"desk {scope}", scope=scope)
        desk = Desk(fresh(app))
        assert (await desk.log_in(key)).status_code == 303
        return desk

    return make


def fresh(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://cardrail")


# Coming in


async def test_who_is_not_logged_in_is_led_to_the_login_and_back(app: FastAPI) -> None:
    client = fresh(app)
    assert (await client.get("/")).headers["location"] == "/console/"
    for path in [*LISTS, *DETAILS, "/console/accounts/acct_1/stream"]:
        answer = await client.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/console/login?next=%2Fconsole%2F"), path
    wanted = "/console/accounts?state=live"
    page = await client.get((await client.get(wanted)).headers["location"])
    form = forms(page.text)["Log in"]
    answer = await client.post("/console/login", data={**form, "key": ADMIN})
    assert (answer.status_code, answer.headers["location"]) == (303, wanted)
    assert (await client.get("/console/login")).headers["location"] == "/console/"


async def test_a_link_from_another_site_finds_the_session(sit: Sit) -> None:
    desk = await sit("read")
    withheld = dict(desk.client.cookies)
    desk.client.cookies.clear()
    arrived = await desk.client.get("/console/events", headers={"Sec-Fetch-Site": "cross-site"})
    assert arrived.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/console/login?next=%2Fconsole%2Fevents"' in arrived.text
    desk.client.cookies.update(withheld)
    assert (await desk.client.get("/console/login?next=/console/events")).headers["location"] == "/console/events"


@pytest.mark.parametrize("next_", ["https://evil.example/", "//evil.example", "/console//evil", "/\\evil", "/v1/x"])
async def test_the_login_leads_nowhere_else(app: FastAPI, next_: str) -> None:
    client = fresh(app)
    form = forms((await client.get("/console/login", params={"next": next_})).text)["Log in"]
    assert form["next"] == "/console/"
    answer = await client.post("/console/login", data={**form, "next": next_, "key": ADMIN})
    assert answer.headers["location"] == "/console/"


async def test_the_cookie_is_opaque_strict_and_useless_when_changed(app: FastAPI) -> None:
    client = fresh(app)
    desk = Desk(client)
    for wrong in ("nothing", "", "ck_ünknown"):
        assert (await desk.log_in(wrong)).status_code == 401
    said = (await desk.log_in(ADMIN)).headers["set-cookie"]
    assert all(part in said for part in ("HttpOnly", "SameSite=strict", "Path=/console"))
    assert "Secure" not in said
    value = client.cookies["cardrail_console"]
    assert ADMIN not in value
    for changed in (value[:-6] + "AAAA==", "eyJrZXkiOiJhIn0=", "AQ==", "", "x" * 5000, "%%%"):
        answer = await client.get("/console/", headers={"Cookie": f"cardrail_console={changed}"})
        assert answer.status_code == 303, changed
    form = forms((await fresh(app).get("/console/login")).text)["Log in"]
    assert (await client.post("/console/login", data={**form, "key": ADMIN})).status_code == 403
    secure = await fresh(app).get("/console/login", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in secure.headers["set-cookie"]


async def test_another_process_of_the_service_knows_the_session(app: FastAPI, services: Services, sit: Sit) -> None:
    desk = await sit("read")
    async with open_services(services.settings) as second:
        other = fresh(create_app(second))
        other.cookies.update(desk.client.cookies)
        assert (await other.get("/console/")).status_code == 200


async def test_a_revoked_key_ends_its_sessions_and_logging_out_ends_this_one_everywhere(
    sit: Sit, services: Services
) -> None:
    desk = await sit("read")
    await desk.see("/console/")
    another = await sit("read")
    async with open_services(services.settings) as second:
        copy = fresh(create_app(second))
        copy.cookies.update(desk.client.cookies)
        assert (await copy.get("/console/")).status_code == 200
        left = await desk.fill("/console/", "Log out")
        assert (left.status_code, left.headers["location"]) == (303, "/console/login")
        assert (await desk.client.get("/console/")).status_code == 303
        assert (await copy.get("/console/")).status_code == 303
    await another.see("/console/")
    desk = await sit("read")
    await services.pool.execute("UPDATE api_keys SET revoked_at = now()")

    async def still() -> bool:
        return (await desk.client.get("/console/")).status_code != 303

    await ends_within(1, still)


# Pages


@pytest.mark.parametrize("scope", ["read", "admin"])
async def test_every_page_stands_empty_and_full(sit: Sit, services: Services, scope: str) -> None:
    desk = await sit(scope)
    lists = [path for path in LISTS if scope == "admin" or path != "/console/audit"]
    for path in [*lists, *FILTERED[:-1]]:
        assert 'class="empty"' in await desk.see(path), path
    await seed(services)
    seen: set[str] = set()
    waiting = [*lists, *DETAILS, *FILTERED[:-1]]
    while waiting:
        path = waiting.pop()
        if path not in seen and len(seen) < 120:
            seen.add(path)
            page = await desk.see(path)
            assert HOSTILE not in page, path
            assert "<script>alert" not in page, path
            waiting += links(page)
    assert set(DETAILS) <= seen
    assert any(path.startswith("/console/parked/pk_") for path in seen)
    full = await desk.see("/console/accounts/acct_1")
    assert all(word in full for word in ("ic_1", "cmd_1", "evt_1", "Why it stands here", "123.45 USDC", "cap_exceeded"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in full


async def test_the_overview_shows_the_platforms_money(sit: Sit, services: Services) -> None:
    await seed(services)
    desk = await sit("read")
    page = await desk.see("/console/")
    assert "<b>0.05 USD</b> on the platform" in page
    assert "<dt>available</dt><dd>0.05 USD</dd>" in page


async def test_an_unknown_thing_is_a_page_with_the_stable_code(sit: Sit, services: Services) -> None:
    desk = await sit("read")
    for path in ("accounts/acct_no", "events/evt_no", "commands/cmd_no", "authorizations/iauth_no", "replays/rpl_no"):
        page = await desk.see(f"/console/{path}", 404)
        assert '<a href="/problems#not_found"><code>not_found</code></a>' in page
        assert "Log out" in forms(page)
    for path in ("nothing", "parked/pk_no", "accounts/acct_no/objects", "accounts/acct_no/stream"):
        assert "not_found" in await desk.see(f"/console/{path}", 404)
    assert "bad_cursor" in await desk.see("/console/events?cursor=x", 400)
    assert "invalid" in await desk.see("/console/events?since=yesterday", 422)
    for name, folder in (("evt_9", "events"), ("entries_1", "events"), ("acct_9", "accounts"), ("cmd_9", "commands")):
        assert (await desk.client.get(f"/console/go?id={name}")).headers["location"] == f"/console/{folder}/{name}"
    await add_account(services.pool, "acct_1")
    await services.pool.execute(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
        " VALUES ('acct_1', 'obp_1', 'outbound_payment', 'posted', '{}', now())"
    )
    found = await desk.client.get("/console/go?id=obp_1")
    assert found.headers["location"] == "/console/accounts/acct_1/objects/obp_1"
    wrong = await desk.client.put("/console/brakes")
    assert (wrong.status_code, "method_not_allowed" in wrong.text) == (405, True)


async def test_pages_allow_nothing_but_our_own_files(sit: Sit) -> None:
    desk = await sit("read")
    answer = await desk.client.get("/console/")
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert answer.text.count("<script") == 1
    for name in ("console.css", "console.js", "mark.svg"):
        asset = await desk.client.get(f"/console/assets/{name}")
        assert asset.status_code == 200
        assert "://" not in asset.text.replace("http://www.w3.org/2000/svg", "")


async def test_lists_go_on_from_page_to_page(sit: Sit, services: Services) -> None:
    for n in range(60):
        await add_account(services.pool, f"acct_{n:03}")
    desk = await sit("read")
    first = await desk.see("/console/accounts?state=live")
    [onward] = re.findall(r'rel="next" href="([^"]+)"', first)
    second = await desk.see("/console/accounts" + onward.replace("&amp;", "&"))
    assert "acct_049" in first
    assert "acct_050" not in first
    assert "acct_050" in second
    assert "acct_059" in second
    assert "acct_049" not in second


# What each scope may


async def test_a_payload_is_shown_to_admins_alone(sit: Sit, services: Services) -> None:
    await seed(services)
    assert "Ana Sample" in await (await sit("admin")).see("/console/events/evt_1")
    for scope in ("read", "operate"):
        page = await (await sit(scope)).see("/console/events/evt_1")
        assert "Ana Sample" not in page
        assert "shown to keys with scope admin" in page


async def test_buttons_stand_only_where_they_may_be_pressed_and_the_server_asks_again(
    sit: Sit, services: Services
) -> None:
    await seed(services)
    reader, operator = await sit("read"), await sit("operate")
    for path in [*LISTS[:-1], *DETAILS]:
        assert set(forms(await reader.see(path))) <= {"Go", "Log out", "Show"}, path
    assert "Hold" in forms(await operator.see("/console/accounts/acct_1"))
    token = forms(await reader.see("/console/"))["Log out"]["token"]
    pressed = await reader.client.post("/console/accounts/acct_1/holds", data={"token": token, "reason": "no"})
    assert (pressed.status_code, "forbidden" in pressed.text) == (403, True)
    assert await services.pool.fetchval("SELECT hold FROM accounts WHERE account_id = 'acct_1'") is None
    assert "forbidden" in await operator.see("/console/audit", 403)
    token = forms(await operator.see("/console/"))["Log out"]["token"]
    confirm = await operator.client.post("/console/replays/rpl_1/confirmations", data={"token": token, "reason": "x"})
    assert confirm.status_code == 403


async def test_a_form_without_the_token_of_its_session_does_nothing(sit: Sit, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    desk, other = await sit("operate"), await sit("operate")
    theirs = forms(await other.see("/console/"))["Log out"]["token"]
    for token in ({}, {"token": ""}, {"token": "x"}, {"token": theirs}):
        for path in ("accounts/acct_1/holds", "brakes", "parked/pk_1/retries", "replays", "logout"):
            answer = await desk.client.post(f"/console/{path}", data={**token, "reason": "x", "step": "all"})
            assert (answer.status_code, "bad_form" in answer.text) == (403, True), path
    assert await services.pool.fetchval("SELECT count(*) FROM operator_actions") == 0
    long = await desk.client.post("/console/brakes", data={"reason": "x" * 70_000})
    assert long.status_code == 413


# What forms do


async def audit_of(services: Services) -> list[tuple[str, str, str, str | None]]:
    rows = await services.pool.fetch("SELECT who, action, target, reason FROM operator_actions ORDER BY id")
    return [tuple(row) for row in rows]


async def test_holding_by_form_leaves_what_holding_by_the_api_leaves(
    sit: Sit, services: Services, anyone: httpx.AsyncClient
) -> None:
    await add_account(services.pool, "acct_1")
    await add_account(services.pool, "acct_2")
    desk = await sit("admin")
    by_api = {"Authorization": f"Bearer {ADMIN}"}
    body = {"reason": "fraud"}
    await anyone.request("POST", "/v1/accounts/acct_1/hold", json=body, headers=by_api)
    await anyone.request("DELETE", "/v1/accounts/acct_1/hold", json=body, headers=by_api)
    held = await desk.done("/console/accounts/acct_2", "Hold", reason="fraud")
    assert "Held by bootstrap: fraud" in held
    assert "No command of this account leaves until" in held
    assert await services.pool.fetchval("SELECT hold->>'reason' FROM accounts WHERE account_id = 'acct_2'") == "fraud"
    assert "Released." in await desk.done("/console/accounts/acct_2", "Release", reason="fraud")
    rows = await audit_of(services)
    assert [(w, a, t.replace("acct_2", "acct_1"), r) for w, a, t, r in rows[2:]] == rows[:2]
    told = "SELECT type FROM events WHERE account_id = $1 ORDER BY received_at"
    types = [[row["type"] for row in await services.pool.fetch(told, name)] for name in ("acct_1", "acct_2")]
    assert types == [["hold.placed", "hold.released"]] * 2
    assert "fraud" in await desk.see("/console/audit?target=acct_2")


async def test_a_form_sent_twice_is_done_once_and_one_that_comes_too_late_is_told_so(
    sit: Sit, services: Services
) -> None:
    await add_account(services.pool, "acct_1")
    desk = await sit("operate")
    form = forms(await desk.see("/console/accounts/acct_1"))["Hold"]
    for _ in range(2):
        assert (await desk.client.post(form.action, data={**form, "reason": "twice"})).status_code == 303
    assert len(await audit_of(services)) == 1
    release = forms(await desk.see("/console/accounts/acct_1"))["Release"]
    await desk.done("/console/accounts/acct_1", "Release", reason="over")
    late = await desk.client.post(release.action, data={**release, "reason": "over"})
    assert (late.status_code, "<code>not_held</code>" in late.text) == (409, True)
    empty = await desk.client.post(form.action, data={"token": form["token"], "reason": " "})
    assert (empty.status_code, "<code>reason</code>" in empty.text) == (422, True)


async def test_brakes_are_set_and_released(sit: Sit, services: Services) -> None:
    desk = await sit("operate")
    page = await desk.done("/console/brakes", "Stop it everywhere", step="create_card", reason="incident")
    assert "incident" in page
    assert "No brake is on" in await desk.done("/console/brakes", "Release create card", reason="over")
    assert [row[:3] for row in await audit_of(services)] == [
        ("desk operate", "PUT set_brake", "/v1/brakes/create_card")
    ] * 2
    unknown = await desk.fill("/console/brakes", "Stop it everywhere", step="no such step", reason="x")
    assert (unknown.status_code, "not_found" in unknown.text) == (404, True)


async def test_parked_things_are_answered_one_by_one_or_by_fingerprint(sit: Sit, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    error = {"code": "no_object", "message": "m"}
    for name in ("evt_a", "evt_b", "evt_c"):
        await add_event(services, name, status="parked", error=error)
    for name in ("cmd_a", "cmd_b"):
        await add_command(services, name, error={"code": "cap_exceeded", "message": "m"})
    desk = await sit("operate")
    assert "folded again" in await desk.done("/console/events/evt_a", "Fold it again", reason="fixed")
    assert "sent again" in await desk.done("/console/commands/cmd_a", "Send it again, same key", reason="fixed")
    pages = {href for href in links(await desk.see("/console/parked")) if "/parked/pk_" in href}
    for page in sorted(pages):
        button = {"Close all without effect", "Give all up"} & set(forms(await desk.see(page)))
        await desk.done(page, button.pop(), reason="nothing to do")
    rows = await services.pool.fetch("SELECT event_id, status FROM events WHERE event_id LIKE 'evt%' ORDER BY 1")
    assert [row["status"] for row in rows] == ["pending", "ignored", "ignored"]
    rows = await services.pool.fetch("SELECT status FROM outbox ORDER BY command_id")
    assert [row["status"] for row in rows] == ["pending", "rejected"]
    actions = [row[1] for row in await audit_of(services)]
    assert actions[:2] == ["POST retry_event", "POST retry_command"]
    assert set(actions[2:]) == {"parked.ignore", "parked.discard"}
    assert "Nothing is parked" in await desk.see("/console/parked")
