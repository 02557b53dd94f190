from app.machines.events import Json
from app.machines.links import FIELDS, linked
from app.machines.registry import MACHINES


def test_a_link_is_taken_from_every_shape_that_names_an_object() -> None:
    debit: Json = {"card": "ic_1", "authorization": None, "transactions": ["ipi_1", None, "ipi_2", "ipi_1"]}
    assert linked("received_debit", debit) == ("ic_1", "ipi_1", "ipi_2")
    assert linked("transaction", {"flow": {"type": "received_debit", "received_debit": "rd_1"}}) == ("rd_1",)
    assert linked("transaction", {"flow": {"type": "currency_conversion"}}) == ()
    assert linked("cardholder", {"card": "ic_1"}) == ()


def test_only_kinds_that_there_are_have_links() -> None:
    assert set(FIELDS) <= set(MACHINES)
