"""Sealing: a value opens only in its place, under its key; keys that do not fit are refused with the setting's name."""

import base64
import os

import pytest

from app.errors import ConfigError
from app.sealing import PACKED_FROM_BYTES, Keys, UnknownDataKey, Unsealable, WrappingKey, fresh_key, parse_keys

PLACE = ("events", "payload", "acct_1", "evt_1")
TEXT = b'{"name": "Ana"}'


def keys(*ids: int) -> Keys:
    made = Keys()
    for key_id in ids or (1,):
        made.add(key_id, fresh_key())
    return made


def entry(name: str, size: int = 32) -> str:
    return f"{name}:{base64.b64encode(b'k' * size).decode()}"


def test_what_was_sealed_opens_in_its_place_and_shows_nothing() -> None:
    one = keys()
    sealed = one.seal(TEXT, *PLACE)
    assert one.open(sealed, *PLACE) == TEXT
    assert b"Ana" not in sealed
    assert one.seal(TEXT, *PLACE) != sealed


@pytest.mark.parametrize("size", [PACKED_FROM_BYTES - 1, PACKED_FROM_BYTES, 200_000, 1_048_576])
def test_a_long_value_is_packed_and_opens_as_it_was(size: int) -> None:
    one, text = keys(), (b'{"name": "Ana"}' * size)[:size]
    sealed = one.seal(text, *PLACE)
    assert one.open(sealed, *PLACE) == text
    assert (len(sealed) < size / 4) == (size >= PACKED_FROM_BYTES)


def test_a_long_value_that_does_not_compress_opens_as_it_was() -> None:
    one, text = keys(), os.urandom(5000)
    assert one.open(one.seal(text, *PLACE), *PLACE) == text


def test_one_changed_bit_of_a_packed_value_is_noticed_the_version_too() -> None:
    one = keys()
    sealed = one.seal(TEXT * 100, *PLACE)
    for at in (0, 5, 17, -1):
        changed = bytearray(sealed)
        changed[at] ^= 3
        with pytest.raises(Unsealable):
            one.open(bytes(changed), *PLACE)


@pytest.mark.parametrize("moved", [("events", "payload", "acct_1", "evt_2"), ("events", "fetched", *PLACE[2:])])
def test_bytes_moved_to_another_row_or_column_do_not_open(moved: tuple[str, ...]) -> None:
    one = keys()
    with pytest.raises(Unsealable):
        one.open(one.seal(TEXT, *PLACE), *moved)


@pytest.mark.parametrize("at", [0, 5, 17, -1])
def test_one_changed_bit_is_noticed(at: int) -> None:
    one = keys()
    sealed = bytearray(one.seal(TEXT, *PLACE))
    sealed[at] ^= 2
    with pytest.raises(Unsealable):
        one.open(bytes(sealed), *PLACE)


@pytest.mark.parametrize("stump", [b"", b"\x01", b"\x01\x00\x00\x00\x01", b"\x02" * 40])
def test_what_was_never_sealed_is_refused_and_json_from_before_is_given_back(stump: bytes) -> None:
    with pytest.raises(Unsealable):
        keys().open(stump, *PLACE)
    assert keys().open(b' {"a": 1}', *PLACE) == b' {"a": 1}'


def test_the_newest_data_key_seals_and_older_ones_still_open() -> None:
    one = keys(1)
    old = one.seal(TEXT, *PLACE)
    one.add(2, fresh_key())
    assert one.open(old, *PLACE) == TEXT
    assert one.seal(TEXT, *PLACE)[1:5] == b"\x00\x00\x00\x02"
    with pytest.raises(UnknownDataKey):
        keys(1).open(one.seal(TEXT, *PLACE), *PLACE)


def test_a_wrapped_data_key_needs_the_key_that_wrapped_it() -> None:
    old, new = WrappingKey("old", b"o" * 32), WrappingKey("new", b"n" * 32)
    wrapped = Keys([old]).wrap(7, b"d" * 32)
    assert Keys([new, old]).unwrap(7, wrapped, "old") == b"d" * 32
    with pytest.raises(ConfigError, match="CARDRAIL_ENCRYPTION_KEYS lacks the key old"):
        Keys([new]).unwrap(7, wrapped, "old")
    with pytest.raises(ConfigError, match="CARDRAIL_ENCRYPTION_KEYS is wrong"):
        Keys([WrappingKey("old", b"x" * 32)]).unwrap(7, wrapped, "old")
    with pytest.raises(ConfigError):
        Keys([old]).unwrap(8, wrapped, "old")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("abc", "id:key"),
        (":abc", "id:key"),
        ("a:%%%", "no base64"),
        (entry("a", 16), "16 bytes"),
        (entry("development"), "taken"),
    ],
)
def test_a_wrong_entry_is_named_and_its_key_is_not_shown(given: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        parse_keys([entry("good"), given])
    assert given.partition(":")[2] not in str(refused.value) or ":" not in given
    with pytest.raises(ValueError, match="taken"):
        parse_keys([entry("good"), entry("good")])
