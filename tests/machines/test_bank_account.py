import pytest

from app.machines.bank_account import faults


def fields(country: str, currency: str, number: str, routing: str | None = None) -> list[str]:
    return [field for field, _ in faults(country, currency, number, routing)]


@pytest.mark.parametrize(
    ("country", "currency", "number", "routing"),
    [
        ("MX", "mxn", "032180000118359719", None),
        ("US", "usd", "000123456789", "110000000"),
        ("DE", "eur", "DE89370400440532013000", None),
        ("FR", "eur", "FR14 2004 1010 0505 0001 3M02 606", None),
        ("IE", "eur", "ie29aibk93115212345678", None),
    ],
)
def test_a_true_account_is_well_formed(country: str, currency: str, number: str, routing: str | None) -> None:
    assert fields(country, currency, number, routing) == []


@pytest.mark.parametrize("position", range(18))
def test_any_wrong_digit_of_a_clabe_is_found(position: int) -> None:
    right = "032180000118359719"
    wrong = right[:position] + str((int(right[position]) + 1) % 10) + right[position + 1 :]
    assert fields("MX", "mxn", wrong) == ["account_number"]


@pytest.mark.parametrize("position", range(9))
def test_any_wrong_digit_of_a_routing_number_is_found(position: int) -> None:
    right = "021000021"
    wrong = right[:position] + str((int(right[position]) + 1) % 10) + right[position + 1 :]
    assert fields("US", "usd", "000123456789", wrong) == ["routing_number"]


@pytest.mark.parametrize(
    ("country", "currency", "number", "routing", "wrong"),
    [
        ("MX", "mxn", "03218000011835971", None, ["account_number"]),
        ("MX", "usd", "032180000118359719", None, ["currency"]),
        ("US", "usd", "123", "110000000", ["account_number"]),
        ("US", "usd", "000123456789", None, ["routing_number"]),
        ("US", "usd", "000123456789", "000000000", ["routing_number"]),
        ("DE", "eur", "DE89370400440532013001", None, ["account_number"]),
        ("DE", "eur", "FR1420041010050500013M02606", None, ["account_number"]),
        ("DE", "eur", "DE8937040044053201300", None, ["account_number"]),
        ("DE", "usd", "DE89370400440532013000", None, ["currency"]),
        ("KP", "usd", "1", None, ["country"]),
    ],
)
def test_what_cannot_be_an_account_names_its_field(
    country: str, currency: str, number: str, routing: str | None, wrong: list[str]
) -> None:
    assert fields(country, currency, number, routing) == wrong
