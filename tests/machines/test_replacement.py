"""A card in place of another: the old one is canceled once, when the new one is active, whatever came first."""

import itertools

import pytest

from app.machines.commands import Command
from app.machines.events import Observed
from app.machines.story import Story, fold
from tests.machines import lives


def card(object_id: str, status: str, at: int, *, replaces: str | None = None, reason: str | None = None) -> Observed:
    fields: dict[str, object] = {"replacement_for": replaces, "replacement_reason": reason}
    return Observed(kind="card", object_id=object_id, status=status, at=at, fields=fields)


def issued(story: Story, *seen: Observed) -> list[Command]:
    return [c for one in seen for c in fold(story, [one]).commands if c.kind == "update_card"]


OLD = card("ic_old", "active", 200)
NEW = card("ic_new", "active", 300, replaces="ic_old", reason="stolen")


@pytest.mark.parametrize("order", list(itertools.permutations((OLD, NEW, NEW))))
def test_the_old_card_is_canceled_once_in_any_order(order: tuple[Observed, ...]) -> None:
    story = lives.story()
    fold(story, [lives.enrolled()])
    (cancel,) = issued(story, *order)
    assert cancel.params == {"card": "ic_old", "status": "canceled", "cancellation_reason": "stolen"}


def test_it_works_on_until_the_new_one_is_active() -> None:
    story = lives.story()
    fold(story, [lives.enrolled()])
    waiting = card("ic_new", "inactive", 300, replaces="ic_old", reason="damaged")
    assert issued(story, OLD, waiting) == []
    active = card("ic_new", "active", 400, replaces="ic_old", reason="damaged")
    (cancel,) = issued(story, active)
    assert cancel.params == {"card": "ic_old", "status": "canceled"}


def test_nothing_is_sent_when_it_is_gone_already_or_not_ours() -> None:
    story = lives.story()
    assert issued(story, OLD, NEW) == []
    fold(story, [lives.enrolled()])
    assert issued(story, card("ic_old", "canceled", 500)) == []
