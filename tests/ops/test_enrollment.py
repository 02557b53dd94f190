"""What an enrollment names is there."""

from tests.ops.world import opened
from tests.polls import polled


async def test_an_account_that_an_enrollment_names_can_be_asked_for(dsn: str) -> None:
    async with opened(dsn) as world:
        enrolled = await world.enroll()
        await world.apply()
        await world.deliver()
        assert await world.account_of(enrolled) is None
        await polled(world.applier)  # the answer, and nothing after it
        account = await world.account_of(enrolled)
        assert account is not None
        assert await world.state(account) == "enrolled"
