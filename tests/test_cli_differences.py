"""What a rebuild found, for somebody who was woken up: only what differs."""

from app.cli import differences


def test_only_the_members_that_differ_are_shown_a_line_each() -> None:
    card = {"kind": "card", "state": "inactive", "data": {"last4": "0001", "brand": "Visa"}}
    one = {
        "account": "acct_1",
        "equal": False,
        "differences": [
            {"what": "state", "stored": "funded", "rebuilt": "live"},
            {"what": "objects.ic_1", "stored": card, "rebuilt": {**card, "state": "active"}},
            {"what": "objects.ic_2", "stored": None, "rebuilt": "there"},
        ],
        "unreadable": ["evt_1"],
    }
    lines = [
        "state: stored funded, the log says live",
        "objects.ic_1.state: stored inactive, the log says active",
        "objects.ic_2: stored None, the log says there",
        "cannot be read: evt_1",
    ]
    assert differences.in_words(one)["differences"] == "\n".join(lines)
    every = differences.in_words({"accounts": 2, "equal": 1, "differing": [one]})
    assert every["differing"].splitlines() == [f"acct_1 {line}" for line in lines]
    same = {**one, "equal": True, "differences": [], "unreadable": []}
    assert "differences" not in differences.in_words(same)
