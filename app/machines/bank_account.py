"""Bank accounts: what a well-formed one looks like per country. Pure; check digits catch a typo before money leaves.

Mexico: CLABE (18 digits, weights 3 7 1). United States: account number and ABA routing number (checksum 3 7 1).
SEPA countries: IBAN (ISO 13616, mod 97) in ``account_number``.
"""

import re

IBAN_LENGTHS = {
    "AT": 20, "BE": 16, "BG": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FR": 27,
    "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IT": 27, "LT": 20, "LU": 20, "LV": 21, "MT": 31, "NL": 18, "PL": 28,
    "PT": 25, "RO": 24, "SE": 24, "SI": 19, "SK": 24,
}  # fmt: skip
COUNTRIES = ("MX", "US", *IBAN_LENGTHS)
CURRENCIES = {"MX": "mxn", "US": "usd"}

Fault = tuple[str, str]
_WEIGHTS = (3, 7, 1)


def faults(country: str, currency: str, account_number: str, routing_number: str | None = None) -> list[Fault]:
    """What is wrong, as ``(field, sentence)``; empty when the account can be meant. Upper-case country."""
    if country not in COUNTRIES:
        return [("country", f"Bank accounts of {country} are not supported; one of {', '.join(COUNTRIES)}.")]
    found: list[Fault] = []
    wanted = CURRENCIES.get(country, "eur")
    if currency != wanted:
        found.append(("currency", f"A bank account in {country} takes {wanted}."))
    match country:
        case "MX":
            found += _mexico(account_number)
        case "US":
            found += _united_states(account_number, routing_number)
        case _:
            found += _sepa(country, account_number)
    return found


def _mexico(number: str) -> list[Fault]:
    if not re.fullmatch(r"\d{18}", number, re.ASCII):
        return [("account_number", "A CLABE has 18 digits.")]
    total = sum(int(d) * _WEIGHTS[i % 3] % 10 for i, d in enumerate(number[:17]))
    if (10 - total % 10) % 10 != int(number[17]):
        return [("account_number", "The check digit of the CLABE is wrong.")]
    return []


def _united_states(number: str, routing: str | None) -> list[Fault]:
    found: list[Fault] = []
    if not re.fullmatch(r"\d{4,17}", number, re.ASCII):
        found.append(("account_number", "A US account number has 4 to 17 digits."))
    if routing is None:
        return [*found, ("routing_number", "A US bank account needs its ABA routing number.")]
    if not re.fullmatch(r"\d{9}", routing, re.ASCII) or not int(routing):
        return [*found, ("routing_number", "An ABA routing number has 9 digits.")]
    if sum(int(d) * _WEIGHTS[i % 3] for i, d in enumerate(routing)) % 10:
        found.append(("routing_number", "The checksum of the routing number is wrong."))
    return found


def _sepa(country: str, number: str) -> list[Fault]:
    iban = number.replace(" ", "").upper()
    if not re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", iban, re.ASCII):
        return [("account_number", "An IBAN is expected.")]
    if not iban.startswith(country) or len(iban) != IBAN_LENGTHS[country]:
        return [
            (
                "account_number",
                f"An IBAN of {country} starts with {country} and has {IBAN_LENGTHS[country]} characters.",
            )
        ]
    turned = iban[4:] + iban[:4]
    if int("".join(str(int(c, 36)) for c in turned)) % 97 != 1:
        return [("account_number", "The check digits of the IBAN are wrong.")]
    return []
