"""Authorizers on a database of the test's own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.flow.authorize import SESSION, Authorizer
from app.machines.programme import Authorization
from app.sealing import Keys
from app.store import db
from tests.flow.purchases import RULES, VERSION, Builder, now_ms


@pytest.fixture
async def build(dsn: str, keys: Keys) -> AsyncIterator[Builder]:
    """Makes authorizers, each with a pool of its own."""
    made: list[tuple[Authorizer, db.Pool]] = []

    async def one(rules: Authorization = RULES, size: int = 4, **options: Any) -> Authorizer:
        own = await db.open_pool(dsn, size=size, name="authorize", settings=SESSION, keys=keys)
        given = {"deadline_ms": 1_500, "default_approve": False, "version": VERSION, "clock": now_ms, **options}
        made.append((Authorizer(own, rules, **given), own))
        return made[-1][0]

    yield one
    for authorizer, own in made:
        await authorizer.close(wait_s=0.1)
        own.terminate()
