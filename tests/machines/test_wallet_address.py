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
@pytest.mark.parametrize("address", [EVM, EVM.lower(), "0x" + EVM[2:].upper()])
def test_an_evm_address_of_one_case_or_with_its_checksum_is_well_formed(network: str, address: str) -> None:
    assert fields(network, address) == []


@pytest.mark.parametrize(
    "address",
    ["", "0x", EVM[:-1], EVM + "0", EVM[2:], EVM[:-1] + "D", "0X" + EVM[2:], "0xg" + EVM[3:], "0x" + "0" * 40],
)
def test_another_evm_address_is_not(address: str) -> None:
    assert fields("base", address) == ["address"]


def test_a_solana_address_has_32_bytes_of_base58() -> None:
    assert fields("solana", SOLANA) == []
    assert fields("solana", "4Nd1mYQZtQjvyhkSFgTXPQkJHDcLzQpcKjLkYNcfS3gT"[:44]) == []
    for address in ("1" * 32, SOLANA[:-1], SOLANA + "1", "0" + SOLANA[1:], EVM, "1" * 44, ""):
        assert fields("solana", address) == ["address"]


def test_a_stellar_address_has_its_checksum_and_needs_a_memo() -> None:
    assert fields("stellar", STELLAR) == ["memo"]
    assert fields("stellar", STELLAR, "invoice 7") == []
    assert fields("stellar", STELLAR, "x" * 29) == ["memo"]
    for address in (STELLAR[:-1] + "A", STELLAR.lower(), "S" + STELLAR[1:], STELLAR[:-1]):
        assert fields("stellar", address, "7") == ["address"]


def test_only_stellar_takes_a_memo_and_only_known_networks_are_known() -> None:
    assert fields("polygon", EVM, "memo") == ["memo"]
    assert fields("bitcoin", EVM) == ["network"]
    assert fields("Polygon", EVM) == ["network"]


@pytest.mark.parametrize(
    "address",
    [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_the_vectors_of_eip_55_are_well_formed_and_each_with_one_case_turned_is_not(address: str) -> None:
    assert fields("ethereum", address) == []
    mixed = address[2:] not in (address[2:].lower(), address[2:].upper())
    at = next(i for i, c in enumerate(address) if i > 1 and c.isalpha())
    turned = address[:at] + address[at].swapcase() + address[at + 1 :]
    if mixed:
        assert fields("ethereum", turned) == ["address"]
