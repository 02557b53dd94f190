"""Sealing: what may hold personal data is stored only as AES-256-GCM ciphertext, each value bound to its place.

Envelope encryption. Data keys seal values; they stand in the database, each wrapped by a key-encryption key that comes
from the settings and never leaves the process. So rotation of the latter rewraps a few small rows, and rotation of the
former gives new rows a new key while old ones stay readable. Pure: rows are read and written elsewhere.

A sealed value is ``version | data key id | nonce | ciphertext and tag``; the associated data name table, column and row,
so bytes that were moved to another place do not open. A long value is packed first (version 2): ciphertext does not
compress, and PostgreSQL would move it to a table beside the row's. Here that is a quarter of the bytes to write and keep. A value from before there was sealing is JSON text, which begins
with no byte as low as a version: it is given back as it is.
"""

import base64
import binascii
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from isal import isal_zlib

from app.errors import CardrailError, ConfigError

SETTING = "CARDRAIL_ENCRYPTION_KEYS"
DEVELOPMENT = "development"
KEY_BYTES = 32
PLAIN_FROM = 9
"""The least first byte of a value that is not sealed: no JSON text begins with a lower one (a tab)."""

PACKED_FROM_BYTES = 1024
"""Shorter values fit into their row as they are."""

_PLAIN, _PACKED = b"\x01", b"\x02"
# Raw deflate, which zlib reads and writes too. A level that packs tighter costs the door a sixth of its throughput.
_LEVEL, _WINDOW = 0, -13
_ID = slice(1, 5)
_NONCE = slice(5, 17)
_NONCE_BYTES = 12
_BODY = 17
_COUNTER_MAX = 2**32


class WrappingKey(NamedTuple):
    """A key-encryption key under the name that the setting gives it."""

    name: str
    key: bytes


_DEVELOPMENT = WrappingKey(DEVELOPMENT, b"cardrail development key".ljust(KEY_BYTES, b"\x00"))
"""Known to all on purpose: a machine without settings has no secret to keep, and runs the same code."""


class Unsealable(CardrailError):
    """A stored value that does not open: changed, moved to another row, or its data key is gone."""

    default_code = "unsealable"


class UnknownDataKey(Unsealable):
    """A value under a data key that this process has not read yet."""


def parse_keys(entries: Sequence[str]) -> tuple[WrappingKey, ...]:
    """``id:base64(32 bytes)`` entries as keys. Raises ValueError with a sentence that shows no key."""
    keys: list[WrappingKey] = []
    for entry in entries:
        name, colon, text = entry.partition(":")
        if not name or not colon:
            raise ValueError("each entry is id:key, the key being base64 of 32 bytes")
        try:
            key = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise ValueError(f"the key {name} is no base64") from None
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key {name} has {len(key)} bytes instead of {KEY_BYTES}")
        if name == DEVELOPMENT or name in {known.name for known in keys}:
            raise ValueError(f"the id {name} is taken")
        keys.append(WrappingKey(name, key))
    return tuple(keys)


class _DataKey:
    """One data key at work. No nonce comes twice under it: each process counts behind a random prefix of 64 bits."""

    def __init__(self, key_id: int, key: bytes) -> None:
        self.cipher = AESGCM(key)
        self._key_id = key_id.to_bytes(4, "big")
        self._nonces = self._count()

    @staticmethod
    def _count() -> Iterator[bytes]:
        while True:
            prefix = os.urandom(8)
            for number in range(_COUNTER_MAX):
                yield prefix + number.to_bytes(4, "big")

    def seal(self, plain: bytes, place: bytes) -> bytes:
        nonce, version = next(self._nonces), _PLAIN
        if len(plain) >= PACKED_FROM_BYTES:
            plain, version, place = isal_zlib.compress(plain, _LEVEL, _WINDOW), _PACKED, _PACKED + place
        return b"".join((version, self._key_id, nonce, self.cipher.encrypt(nonce, plain, place)))


class Keys:
    """The keys of one process. ``wrapping``: key-encryption keys, the first one wraps; without any, the one all know.

    Data keys are added as they are read from the database; the newest seals.
    """

    def __init__(self, wrapping: Sequence[WrappingKey] = ()) -> None:
        self.first = wrapping[0] if wrapping else _DEVELOPMENT
        self._wrapping: Mapping[str, bytes] = dict((*wrapping, _DEVELOPMENT))
        self._data: dict[int, _DataKey] = {}
        self._newest: _DataKey | None = None

    @property
    def known(self) -> frozenset[int]:
        """Ids of the data keys that were added."""
        return frozenset(self._data)

    def wrap(self, key_id: int, key: bytes) -> bytes:
        """A data key wrapped under the first key-encryption key."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self.first.key).encrypt(nonce, key, _wrapping_place(key_id, self.first.name))

    def unwrap(self, key_id: int, wrapped: bytes, by: str) -> bytes:
        """The data key in ``wrapped``. Raises ConfigError that names the setting when the right key is not there."""
        key = self._wrapping.get(by)
        if key is None:
            raise ConfigError(f"{SETTING} lacks the key {by}, which data key {key_id} is wrapped with.")
        nonce, body = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, body, _wrapping_place(key_id, by))
        except InvalidTag:
            raise ConfigError(f"{SETTING} is wrong: its key {by} does not open data key {key_id}.") from None

    def add(self, key_id: int, key: bytes) -> None:
        """Take a data key into use; the one with the highest id seals from now on."""
        made = self._data[key_id] = _DataKey(key_id, key)
        if key_id == max(self._data):
            self._newest = made

    def seal(self, plain: bytes, *place: str) -> bytes:
        """``plain`` sealed for ``place`` (table, column, account, row)."""
        if self._newest is None:
            raise Unsealable("No data key was loaded.")
        return self._newest.seal(plain, "\x00".join(place).encode())

    def open(self, sealed: bytes, *place: str) -> bytes:
        """What was sealed for this very place. Raises UnknownDataKey, or Unsealable when the bytes are not genuine."""
        if sealed and sealed[0] >= PLAIN_FROM:
            return sealed
        key_id = int.from_bytes(sealed[_ID], "big")
        data_key = self._data.get(key_id)
        version = sealed[:1]
        if version not in (_PLAIN, _PACKED) or len(sealed) < _BODY:
            raise Unsealable(f"{' '.join(place)}: these bytes were never sealed by us.")
        if data_key is None:
            raise UnknownDataKey(f"{' '.join(place)}: data key {key_id} is not known.")
        where = "\x00".join(place).encode()
        try:
            if version == _PLAIN:
                return data_key.cipher.decrypt(sealed[_NONCE], sealed[_BODY:], where)
            return isal_zlib.decompress(
                data_key.cipher.decrypt(sealed[_NONCE], sealed[_BODY:], _PACKED + where), _WINDOW
            )
        except InvalidTag:
            raise Unsealable(f"{' '.join(place)}: changed or moved after it was stored.") from None


def fresh_key() -> bytes:
    """A new data key."""
    return AESGCM.generate_key(KEY_BYTES * 8)


def _wrapping_place(key_id: int, by: str) -> bytes:
    return f"data_keys\x00{key_id}\x00{by}".encode()
