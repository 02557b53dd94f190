"""Logs are one JSON object a line, and hold neither secrets nor personal data, whoever wrote the line."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app.log import PERSONAL_KEYS, REDACTED, SECRET_KEYS, configure_logging, get_logger, redact


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """A stream that receives every line; what was configured before is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(form="json", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_and_logger(out: io.StringIO) -> None:
    get_logger("app.flow").info("applied", account_id="acct_1", count=2)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"message": "applied", "level": "info", "logger": "app.flow", "account_id": "acct_1", "count": 2}


def test_facts_bound_to_the_context_are_in_every_line(out: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(role="deliver"):
        get_logger("app").info("one")
        logging.getLogger("sqlalchemy").warning("two")
    get_logger("app").info("three")
    assert [line.get("role") for line in lines(out)] == ["deliver", "deliver", None]


def test_a_line_below_the_level_is_not_written(out: io.StringIO) -> None:
    get_logger("app").debug("quiet")
    assert lines(out) == []


def test_a_traceback_is_one_member_without_secrets(out: io.StringIO) -> None:
    try:
        raise ValueError("signed with whsec_abcdef")
    except ValueError:
        get_logger("app").exception("boom")
    (line,) = lines(out)
    assert "ValueError" in line["exception"]
    assert "whsec_abcdef" not in out.getvalue()


def test_a_library_line_is_redacted_as_ours_are(out: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("key %s for %s", "sk_live_abcdefgh", "ana@example.com")
    (line,) = lines(out)
    assert line["message"] == f"key {REDACTED} for {REDACTED}"


def test_a_terminal_gets_readable_lines_and_a_file_gets_json() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    configure_logging(stream=terminal)
    get_logger("app").info("ready", email="ana@example.com")
    assert "ready" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert "ana@" not in terminal.getvalue()
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


@pytest.mark.parametrize(
    "text",
    [
        "sk_test_abcdefgh",
        "rk_live_abcdefgh",
        "whsec_0a+b/c=",
        "Bearer abc.def",
        "postgresql://user:hunter2@host/db",
        "ana.maria+x@mail.example.com",
    ],
)
def test_secrets_are_found_inside_texts(text: str) -> None:
    found = redact(f"before {text} after")
    assert isinstance(found, str)
    assert REDACTED in found
    assert not any(part in found for part in ("abcdefgh", "0a+b", "abc.def", "hunter2", "ana.maria"))


def test_ids_and_counts_pass() -> None:
    facts = {"account_id": "acct_1", "event_id": "evt_1", "amount": {"value": 5, "currency": "usd"}, "role": "apply"}
    assert redact(facts) == facts


def test_a_name_inside_a_payload_is_a_persons_and_on_top_it_is_ours() -> None:
    assert redact({"name": "ingest"}) == {"name": "ingest"}
    assert redact({"cardholder": {"name": "Ana"}}) == {"cardholder": {"name": REDACTED}}


@given(
    key=st.sampled_from(sorted(SECRET_KEYS | PERSONAL_KEYS)),
    path=st.lists(st.one_of(st.just("list"), st.text(min_size=1, max_size=5)), max_size=5),
)
def test_no_depth_hides_what_a_key_gives_away(key: str, path: list[str]) -> None:
    value: object = {key: "Zq9!marker"}
    for step in path:
        value = [value] if step == "list" else {step: value}
    assert "Zq9!marker" not in str(redact(value))
