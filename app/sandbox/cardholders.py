"""Issuing cardholders."""

from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.cards import controls_of
from app.sandbox.errors import invalid
from app.sandbox.world import World

KIND = "issuing.cardholder"
NAME_CHARS_MAX = 24
_NOTHING_TOLD = ({"user_terms_acceptance": None}, {"document": None})


def create(world: World, call: Call) -> Answer:
    """A cardholder; what is missing shows in ``requirements``."""
    body = call.params
    if len(body["name"]) > NAME_CHARS_MAX:
        raise invalid(f"name is longer than {NAME_CHARS_MAX} characters", param="name")
    company = _company(body)
    data: Json = {
        "type": body.get("type", "individual"),
        "status": body.get("status", "active"),
        "name": body["name"],
        "email": body.get("email"),
        "phone_number": body.get("phone_number"),
        "billing": {"address": {"line2": None, "state": None, **body["billing"]["address"]}},
        "individual": _individual(body.get("individual")),
        "company": None if company is None else {"tax_id_provided": "tax_id" in company},
        "spending_controls": _limits(body.get("spending_controls")) or None,
        "preferred_locales": body.get("preferred_locales") or [],
        "metadata": body.get("metadata") or {},
    }
    data["requirements"] = _requirements(data)
    holder = world.add(KIND, call.account, data)
    world.snapshot("created", holder)
    return Answer(holder)


def _company(body: Json) -> Json | None:
    """What was told of a company. A tax number that ends in ``BAD`` is refused, and repeated, as Stripe repeats values."""
    company = body.get("company")
    number = str(company.get("tax_id") or "") if isinstance(company, dict) else ""
    if number.endswith("BAD"):
        raise invalid(
            f"The tax ID {number} of {body.get('name') or 'the company'} is not valid.", param="company[tax_id]"
        )
    return company if isinstance(company, dict) else None


def _individual(given: Json | None) -> Json | None:
    if not given:
        return None
    dob = given.get("dob")
    terms = (given.get("card_issuing") or {}).get("user_terms_acceptance")
    lead = (given.get("user_terms_acceptance") or {}).get("lead")
    accepted = lead or terms
    shown = {**accepted, "date": int(accepted["date"])} if accepted and "date" in accepted else None
    return {
        "first_name": given.get("first_name"),
        "last_name": given.get("last_name"),
        "dob": {part: int(dob[part]) for part in ("day", "month", "year")} if dob else None,
        "card_issuing": {"user_terms_acceptance": shown},
        "verification": {"document": None},
    }


def _requirements(data: Json) -> Json:
    """What is missing before the cardholder's cards may be used."""
    due: list[str] = []
    if data["type"] == "individual":
        person = data["individual"] or {}
        due += [f"individual.{name}" for name in ("first_name", "last_name") if not person.get(name)]
        due += [] if person.get("dob") else [f"individual.dob.{part}" for part in ("day", "month", "year")]
        if not (person.get("card_issuing") or {}).get("user_terms_acceptance"):
            due += [f"individual.card_issuing.user_terms_acceptance.{part}" for part in ("date", "ip")]
    elif not (data["company"] or {}).get("tax_id_provided"):
        due.append("company.tax_id")
    return {"disabled_reason": "requirements.past_due" if due else None, "past_due": due}


def update(world: World, call: Call) -> Answer:
    """Change what may be changed."""
    holder = world.find(KIND, call.ids[0], call.account, "v1")
    body = call.params
    changed: Json = {}
    if body.get("status", "active") not in ("active", "inactive"):
        raise invalid("status must be active or inactive", param="status")
    for name, value in _changes(holder, body).items():
        changed[name], holder.data[name] = holder.data[name], value
    before = holder.data["requirements"]
    if before["disabled_reason"] in (None, "requirements.past_due"):
        holder.data["requirements"] = _requirements(holder.data)
    if holder.data["requirements"] != before:
        changed["requirements"] = before
    world.snapshot("updated", holder, changed)
    return Answer(holder)


def _changes(holder: Record, body: Json) -> Json:
    new: Json = {name: body[name] for name in ("status", "email", "phone_number", "metadata") if name in body}
    if "billing" in body:
        new["billing"] = {"address": {"line2": None, "state": None, **body["billing"]["address"]}}
    if "spending_controls" in body:
        new["spending_controls"] = {**(holder.data["spending_controls"] or {}), **_limits(body["spending_controls"])}
    if "individual" in body:
        person = _individual(body["individual"]) or {}
        told = {k: v for k, v in person.items() if v and v not in _NOTHING_TOLD}
        new["individual"] = {**(holder.data["individual"] or {}), **told}
    if "company" in body:
        new["company"] = {"tax_id_provided": "tax_id" in (_company(body) or {})}
    return new


def _limits(given: Json | None) -> Json:
    return {"spending_limits": [], **controls_of(given)} if given else {}


def review(world: World, holder: Record, reason: str | None) -> None:
    """Control: Stripe's screening stops the cardholder for a reason, or (None) is over."""
    before, status = holder.data["requirements"], holder.data["status"]
    stopped = {"disabled_reason": reason, "past_due": before["past_due"]}
    holder.data["requirements"] = stopped if reason else _requirements(holder.data)
    if reason == "rejected.listed":
        holder.data["status"] = "blocked"
    world.snapshot("updated", holder, {"requirements": before, "status": status})
