"""The desk: parked things answered by fingerprint, and a doctor that names what is wrong."""

from app.ops import doctor, parked
from app.ops.parts import Actor
from app.wiring import Services
from tests.flow.test_apply import deliver

ME = Actor(who="test", reason="because")


async def park(services: Services, count: int) -> None:
    for _ in range(count):
        await deliver(services.pool, "issuing_card.created", None)
    await services.pool.execute(
        "UPDATE events SET status = 'parked', error = $1", {"code": "no_object", "message": "m"}
    )


async def test_parked_events_are_grouped_and_answered_together(services: Services) -> None:
    await park(services, 3)
    async with services.pool.acquire() as conn, conn.transaction():
        found = await parked.groups(conn)
        assert [(g["what"], g["kind"], g["code"], g["count"]) for g in found] == [
            ("event", "issuing_card.created", "no_object", 3)
        ]
        done = await parked.answer(conn, "event", "issuing_card.created", "no_object", "ignore", ME, at_ms=1)
        assert done == {"done": 3, "refused": 0, "more": False}
        assert await parked.groups(conn) == []
    assert await services.pool.fetchval("SELECT action FROM operator_actions") == "parked.ignore"


async def test_the_doctor_names_what_is_parked_refused_and_unreachable(services: Services) -> None:
    await park(services, 1)
    await services.pool.execute(
        "INSERT INTO rejections (code, detail) VALUES ('signature_mismatch', $1)", {"cause": "c"}
    )
    found = await doctor.examine(services)
    wrong = {check.check for check in found if check.state == "wrong"}
    assert wrong == {"parked event issuing_card.created", "rejections signature_mismatch", "stripe"}
    assert doctor.wrong(found)
