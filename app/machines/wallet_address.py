"""Crypto wallet addresses: what a well-formed one looks like on each network that Stripe pays out to.

Pure: a malformed address is refused here, before money could be sent to nobody, and so is each network's zero address. Networks as in Stripe's
``payout_method.crypto_wallet.network``; checksums per EIP-55, base58 (Solana) and CRC16-XModem (Stellar).
"""

import base64
import binascii
import re

EVM = ("arbitrum", "avalanche_c_chain", "base", "ethereum", "optimism", "polygon")
NETWORKS = (*EVM, "solana", "stellar")

MEMO_BYTES_MAX = 28
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_EVM_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_STELLAR_ADDRESS = re.compile(r"G[A-Z2-7]{55}")
_STELLAR_ACCOUNT = 6 << 3
_SOLANA_BYTES = 32
_SOLANA_LENGTHS = range(32, 45)


def faults(network: str, address: str, memo: str | None = None) -> list[tuple[str, str]]:
    """What is wrong, as ``(field, sentence)``; empty when the address can be meant."""
    if network not in NETWORKS:
        return [("network", f"Unknown network; one of {', '.join(NETWORKS)}.")]
    found = [] if _well_formed(network, address) else [("address", f"Not a well-formed {network} address.")]
    if network == "stellar" and not memo:
        found.append(("memo", "A Stellar address needs its memo: without it the money reaches nobody."))
    if memo is not None and network != "stellar":
        found.append(("memo", "Only a Stellar address takes a memo."))
    if memo is not None and len(memo.encode()) > MEMO_BYTES_MAX:
        found.append(("memo", f"A memo has at most {MEMO_BYTES_MAX} bytes."))
    return found


def _well_formed(network: str, address: str) -> bool:
    if network in EVM:
        return _evm(address)
    return _solana(address) if network == "solana" else _stellar(address)


def _evm(address: str) -> bool:
    if not _EVM_ADDRESS.fullmatch(address):
        return False
    digits = address[2:]
    if not int(digits, 16):
        return False
    return digits in (digits.lower(), digits.upper()) or digits == checksummed(digits)


def checksummed(digits: str) -> str:
    """The 40 hex digits in the case that EIP-55 wants."""
    lower = digits.lower()
    seal = keccak256(lower.encode()).hex()
    return "".join(c.upper() if int(s, 16) >= 8 else c for c, s in zip(lower, seal, strict=False))


def _solana(address: str) -> bool:
    if len(address) not in _SOLANA_LENGTHS or any(c not in _BASE58 for c in address):
        return False
    number = 0
    for c in address:
        number = number * 58 + _BASE58.index(c)
    zeros = len(address) - len(address.lstrip("1"))
    return bool(number) and zeros + (number.bit_length() + 7) // 8 == _SOLANA_BYTES


def _stellar(address: str) -> bool:
    if not _STELLAR_ADDRESS.fullmatch(address):
        return False
    raw = base64.b32decode(address)
    return (
        raw[0] == _STELLAR_ACCOUNT
        and any(raw[1:-2])
        and binascii.crc_hqx(raw[:-2], 0).to_bytes(2, "little") == raw[-2:]
    )


_MASK = (1 << 64) - 1
_RATE = 136
_ROUNDS = 24


def _rotated(value: int, by: int) -> int:
    by %= 64
    return ((value << by) | (value >> (64 - by))) & _MASK


def _round_constants() -> list[int]:
    constants, register = [], 1
    for _ in range(_ROUNDS):
        constant = 0
        for j in range(7):
            if register & 1:
                constant ^= 1 << ((1 << j) - 1)
            register = ((register << 1) ^ (0x171 if register & 0x80 else 0)) & 0xFF
        constants.append(constant)
    return constants


def _permuted(lanes: list[list[int]]) -> list[list[int]]:
    """Keccak-f[1600] on lanes ``[x][y]``."""
    for constant in _round_constants():
        column = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
        mixed = [column[(x - 1) % 5] ^ _rotated(column[(x + 1) % 5], 1) for x in range(5)]
        lanes = [[lanes[x][y] ^ mixed[x] for y in range(5)] for x in range(5)]
        x, y, current = 1, 0, lanes[1][0]
        for t in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            current, lanes[x][y] = lanes[x][y], _rotated(current, (t + 1) * (t + 2) // 2)
        lanes = [[lanes[x][y] ^ (~lanes[(x + 1) % 5][y] & lanes[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
        lanes[0][0] ^= constant
    return lanes


def keccak256(data: bytes) -> bytes:
    """Keccak-256 with the original padding (Ethereum's), which hashlib's SHA-3 is not."""
    padded = bytearray(data) + bytearray(_RATE - len(data) % _RATE)
    padded[len(data)] |= 0x01
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), _RATE):
        for i in range(_RATE // 8):
            at = start + 8 * i
            lanes[i % 5][i // 5] ^= int.from_bytes(padded[at : at + 8], "little")
        lanes = _permuted(lanes)
    return b"".join(lanes[i % 5][i // 5].to_bytes(8, "little") for i in range(4))
