import pytest

from app.machines.wallet_address import NETWORKS, faults, keccak256

EVM = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
SOLANA = "So11111111111111111111111111111111111111112"
STELLAR = "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ"


def fields(network: str, address: str, memo: str | None = None) -> list[str]:
    return [field for field, _ in faults(network, address, memo)]


def test_keccak_is_ethereums() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"a" * 135).hex() != keccak256(b"a" * 136).hex()


@pytest.mark.parametrize("network", [n for n in NETWORKS if n not in {"solana", "stellar"}])
@pytest.mark.parametrize("address", [EVM, EVM.lower(), "0x" + EVM[2:].upper(), "0x" + "0" * 40])
def test_an_evm_address_of_one_case_or_with_its_checksum_is_well_formed(network: str, address: str) -> None:
    assert fields(network, address) == []


@pytest.mark.parametrize(
    "address", ["", "0x", EVM[:-1], EVM + "0", EVM[2:], EVM[:-1] + "D", "0X" + EVM[2:], "0xg" + EVM[3:]]
)
def test_another_evm_address_is_not(address: str) -> None:
    assert fields("base", address) == ["address"]


def test_a_solana_address_has_32_bytes_of_base58() -> None:
    assert fields("solana", SOLANA) == []
    assert fields("solana", "1" * 32) == []
    for address in (SOLANA[:-1], SOLANA + "1", "0" + SOLANA[1:], EVM, "1" * 44, ""):
        assert fields("solana", address) == ["address"]


def test_a_stellar_address_has_its_checksum_and_may_have_a_memo() -> None:
    assert fields("stellar", STELLAR) == []
    assert fields("stellar", STELLAR, "invoice 7") == []
    assert fields("stellar", STELLAR, "x" * 29) == ["memo"]
    for address in (STELLAR[:-1] + "A", STELLAR.lower(), "S" + STELLAR[1:], STELLAR[:-1]):
        assert fields("stellar", address) == ["address"]


def test_only_stellar_takes_a_memo_and_only_known_networks_are_known() -> None:
    assert fields("polygon", EVM, "memo") == ["memo"]
    assert fields("bitcoin", EVM) == ["network"]
    assert fields("Polygon", EVM) == ["network"]
