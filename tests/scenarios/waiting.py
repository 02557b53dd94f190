"""What scenarios of money share: asking, looking, and members that are told apart by their tags."""

from collections.abc import Callable
from typing import Any

from app.demo.fleet import Member
from tests.scenarios.asking import until
from tests.scenarios.conftest import World

PLATFORM = "acct_platform_sandbox"
Json = dict[str, Any]


def member(name: str, tag: str = "", end: str = "live") -> Member:
    return Member(name, "MX", tag, end)


async def ends(world: World, href: str, *states: str) -> Json:
    """The request once it is in one of these states (by default: answered)."""
    wanted = states or ("settled", "rejected")
    return dict(await until(lambda: world.get(href), lambda r: r["state"] in wanted, href))


async def ask(world: World, account: str | None, path: str, body: Json | None, method: str = "POST") -> Json:
    """Ask for something of an account and return the request once Stripe has answered."""
    answer = await world.api.request(method, f"/v1/accounts/{account}/{path}", json=body)
    assert answer.status_code == 202, answer.text
    accepted = answer.json()
    assert {"id", "href", "state"} <= set(accepted)
    return await ends(world, accepted["href"])


async def enrolled(world: World, one: Member) -> str:
    """Enroll a member and wait only until it has an account."""
    world.drive.members = [one]
    await world.drive.enroll()
    path = f"/v1/enrollments/{one.enrollment}"
    one.account = (await until(lambda: world.get(path), lambda e: e["account"], path))["account"]
    return str(one.account)


async def shows(world: World, account: str | None, object_id: str, state: str) -> Json:
    """The object once it is in this state."""
    path = f"/v1/accounts/{account}/objects/{object_id}"

    async def read() -> Json:
        answer = await world.api.get(path)
        return dict(answer.json()) if answer.is_success else {}

    return dict(await until(read, lambda o: o.get("state") == state, f"{object_id} {state}"))


async def objects(world: World, account: str | None, kind: str) -> list[Json]:
    return await world.drive.everything(f"/v1/accounts/{account}/objects?kind={kind}")


async def account_is(world: World, account: str | None, good: Callable[[Json], bool], what: str) -> Json:
    return dict(await until(lambda: world.get(f"/v1/accounts/{account}"), good, what))


async def control(world: World, path: str, body: Json | None = None) -> Json:
    """Let the outside, or Stripe, do something."""
    answer = await world.sandbox.post(f"/_sandbox/{path}", json=body or {})
    assert answer.is_success, answer.text
    return dict(answer.json())
