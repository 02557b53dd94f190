"""Keys on a real database: rotation is followed, old rows are sealed anew, wrong keys stop the start, damage is parked."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.config import Settings, load_settings
from app.errors import ConfigError
from app.ops import encryption, requests, subscriptions
from app.ops.doctor import secrecy
from app.ops.parts import Actor
from app.store import sealed, views
from app.store import subscriptions as stored
from app.web import whole as together
from app.wiring import Services, open_services
from tests.conftest import payload_of
from tests.flow.test_apply import card, deliver
from tests.ops.conftest import PLATFORM

ME = Actor(who="test", reason="rotation")
FIRST, SECOND = (f"{name}:{base64.b64encode(name.encode() * 16).decode()}" for name in ("k1", "k2"))
Drain = Callable[[], Awaitable[None]]


def with_keys(dsn: str, *keys: str, live: bool = False) -> Settings:
    values = {
        "DATABASE_URL": dsn,
        "PLATFORM_ACCOUNT_ID": PLATFORM,
        "STRIPE_API_BASE": "http://127.0.0.1:9",
        "CARDRAIL_ENCRYPTION_KEYS": ",".join(keys),
        "CARDRAIL_POOL_SIZE": "2",
        "CARDRAIL_LIVEMODE": str(live).lower(),
    }
    return Settings.model_validate({k: v for k, v in values.items() if v})


@pytest.fixture
async def plain(dsn: str) -> AsyncIterator[Services]:
    async with open_services(with_keys(dsn)) as opened:
        yield opened


async def state(services: Services) -> str:
    async with services.pool.acquire() as conn:
        return (await secrecy.look(conn, services)).state


async def test_a_first_key_replaces_the_known_one_and_rewrite_brings_old_rows_under_it(
    services: Services, drain: Drain, dsn: str
) -> None:
    """``deliver`` writes the row as it was before there was sealing; apply seals what it adds."""
    event_id = await deliver(services.pool, "issuing_card.created", card())
    await drain()
    before = await payload_of(services.pool, event_id)
    assert (await encryption.status(services))["plain"] == 1
    async with open_services(with_keys(dsn, FIRST)) as own:
        assert await state(own) == "warning"
        found = await encryption.status(own)
        assert [(key["id"], key["wrapped_by"]) for key in found["data_keys"]] == [(1, "development"), (2, "k1")]
        assert (await encryption.rotate(own, ME))["data_key"] == 3
        assert (await encryption.rewrite(own, ME))["rewritten"]["events"] == 1
        found = await encryption.status(own)
        assert found["plain"] == 0
        assert [key["values"] for key in found["data_keys"]] == [0, 0, 1]
        assert await payload_of(own.pool, event_id) == before
        assert await state(own) == "ok"
        assert (await encryption.rewrite(own, ME))["rewritten"]["events"] == 0


async def test_a_signing_secret_from_before_signs_on_and_is_sealed_by_rewrite(plain: Services) -> None:
    async with plain.pool.acquire() as conn, conn.transaction():
        made = await subscriptions.create(conn, url="https://8.8.8.8/", types=["*"], accounts=None, description=None)
        fresh = await subscriptions.rotate(conn, made["id"])
    own = (fresh["secret"].encode(), made["secret"].encode())
    await plain.pool.execute("UPDATE subscriptions SET secret = $1, secret_before = $2", *own)
    assert (await secrets_of(plain), (await encryption.status(plain))["plain"]) == (own, 2)
    await encryption.rotate(plain, ME)
    assert (await encryption.rewrite(plain, ME))["rewritten"]["subscriptions"] == 1
    assert (await secrets_of(plain), (await encryption.status(plain))["plain"]) == (own, 0)
    await plain.pool.execute("UPDATE subscriptions SET secret = secret_before")
    assert await secrets_of(plain) == (b"", own[1])


async def secrets_of(services: Services) -> tuple[bytes, bytes]:
    async with services.pool.acquire() as conn:
        (row,) = await stored.enabled(conn)
    return bytes(row["secret"]), bytes(row["secret_before"])


async def test_a_process_opens_what_another_sealed_after_a_rotation(plain: Services, dsn: str) -> None:
    async with open_services(with_keys(dsn)) as other:
        await encryption.rotate(other, ME)
        async with other.pool.acquire() as conn:
            value = sealed.seal(conn, sealed.EVENTS, "payload", "acct_1", "evt_1", b"{}")
        async with plain.pool.acquire() as conn:
            row = {"account_id": "acct_1", "event_id": "evt_1", "payload": value}
            assert (await sealed.opened(conn, sealed.EVENTS, [row]))[0]["payload"] == b"{}"


async def test_a_wrapping_key_is_replaced_and_can_then_be_taken_away(dsn: str) -> None:
    async with open_services(with_keys(dsn, FIRST)):
        pass
    with pytest.raises(ConfigError, match="CARDRAIL_ENCRYPTION_KEYS lacks the key k1"):
        async with open_services(with_keys(dsn, SECOND)):
            pass
    async with open_services(with_keys(dsn, SECOND, FIRST)) as both:
        assert (await encryption.rotate(both, ME))["rewrapped"] == 1
    async with open_services(with_keys(dsn, SECOND)) as one:
        assert await state(one) == "ok"
    with pytest.raises(ConfigError, match="CARDRAIL_ENCRYPTION_KEYS"):
        async with open_services(with_keys(dsn)):
            pass


async def test_an_event_whose_bytes_were_changed_is_parked_and_stops_nobody(services: Services, drain: Drain) -> None:
    damaged = await deliver(services.pool, "issuing_card.created", card())
    whole = await deliver(services.pool, "issuing_card.created", card(card_id="ic_2"))
    await encryption.rewrite(services, ME)
    await services.pool.execute(
        "UPDATE events SET payload = set_byte(payload, 20, get_byte(payload, 20) # 1) WHERE event_id = $1", damaged
    )
    await drain()
    rows = await services.pool.fetch("SELECT event_id, status, error FROM events")
    assert {row["event_id"]: row["status"] for row in rows} == {damaged: "parked", whole: "applied"}
    assert [row["error"]["code"] for row in rows if row["event_id"] == damaged] == ["unsealable"]
    async with services.pool.acquire() as conn, conn.transaction():
        row = await views.event(conn, damaged)
        assert row is not None
        told = await together.event(conn, row, private=True)
        assert (told["status"], str(told["payload"])[:17]) == ("parked", "It does not open:")
        assert (await requests.ignore_event(conn, damaged, by="me", reason="r"))["state"] == "ignored"


async def test_without_the_setting_the_doctor_warns_and_live_mode_is_wrong(plain: Services, dsn: str) -> None:
    assert await state(plain) == "warning"
    async with open_services(with_keys(dsn, live=True)) as live:
        assert await state(live) == "wrong"


def test_a_malformed_key_stops_the_start_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="CARDRAIL_ENCRYPTION_KEYS is wrong") as refused:
        load_settings({"CARDRAIL_ENCRYPTION_KEYS": "k1:c2hvcnQ="})
    assert "c2hvcnQ" not in refused.value.message
