"""How scenarios ask for things and wait for what follows."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from tests.patience import PATIENCE_S
from tests.scenarios.conftest import World

Row = dict[str, Any]


async def until(
    read: Callable[[], Awaitable[Any]], good: Callable[[Any], object], what: str, seconds: float = PATIENCE_S
) -> Any:
    """What ``read`` tells once it is ``good``."""
    seen: Any = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                seen = await read()
                if good(seen):
                    return seen
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{what}: last seen {seen}")


class Account:
    """One account of the running service, asked and looked at over HTTP; its other side is the sandbox."""

    def __init__(self, world: World, account: str) -> None:
        self.world = world
        self.id = account

    @property
    def path(self) -> str:
        return f"/v1/accounts/{self.id}"

    async def send(self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST") -> Row:
        """Ask for something that must be taken."""
        answer = await self.world.api.request(method, f"{self.path}/{path}", json=body)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def ask(self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST") -> Row:
        """Ask for something, and the request once Stripe has answered."""
        accepted = await self.send(path, body, method)
        ended = ("settled", "rejected")
        return dict(await until(lambda: self.world.get(accepted["href"]), lambda r: r["state"] in ended, path))

    async def refused(self, path: str, body: Mapping[str, Any] | None, method: str = "POST") -> tuple[int, str]:
        """Ask for what must be refused at once: status and code."""
        answer = await self.world.api.request(method, f"{self.path}/{path}", json=body)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.json()["code"]

    async def look(self, object_id: str) -> Row:
        """An object as the API shows it; empty while it is unknown."""
        answer = await self.world.api.get(f"{self.path}/objects/{object_id}")
        return dict(answer.json()) if answer.is_success else {}

    async def shows(self, object_id: str, good: Callable[[Row], object] | str) -> Row:
        """The object once it is in this state, or ``good``."""
        fits = (lambda o: o.get("state") == good) if isinstance(good, str) else good
        return dict(await until(lambda: self.look(object_id), lambda o: o and fits(o), f"{object_id} {good}"))

    async def objects(self, kind: str) -> list[Row]:
        page = await self.world.get(f"{self.path}/objects?kind={kind}&limit=200")
        return list(page["data"])

    async def journal(self) -> list[Row]:
        return await self.world.drive.everything(f"{self.path}/journal")

    async def stripe(self, path: str, form: Mapping[str, Any] | None = None, method: str = "POST") -> Row:
        """A call of Stripe's API for this account, as a merchant, a network or Stripe's own dashboard would make it."""
        headers = {"Stripe-Account": self.id, "Authorization": "Bearer sk_test_sandbox"}
        answer = await self.world.sandbox.request(method, path, data=form, headers=headers)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def helper(self, path: str, **form: Any) -> Row:
        """A test helper of Issuing."""
        return await self.stripe(f"/v1/test_helpers/issuing/{path}", form)

    async def control(self, path: str, **body: Any) -> Row:
        """A control of the sandbox."""
        answer = await self.world.sandbox.post(f"/_sandbox/{path}", json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())
