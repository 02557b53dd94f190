"""Persons of an account, and links to hosted onboarding."""

from app.sandbox import listing
from app.sandbox.accounts import find
from app.sandbox.calls import Answer, Call
from app.sandbox.clock import rfc3339
from app.sandbox.world import World

PERSON = "v2.core.account_person"
LINK = "v2.core.account_link"


def create_link(world: World, call: Call) -> Answer:
    """A link to hosted onboarding."""
    account = find(world, call, str(call.params["account"]))
    use_case = call.params["use_case"]
    link = world.add(LINK, account.id, {"account": account.id, "use_case": use_case})
    link.data["url"] = f"https://connect.stripe.com/setup/e/{account.id}/{link.id}"
    link.data["expires_at"] = rfc3339()
    body = {key: value for key, value in link.data.items() if key != "id"}
    return Answer(body=body)


def create_person(world: World, call: Call) -> Answer:
    """A person of an account."""
    account = find(world, call, call.ids[0])
    body = {key: value for key, value in call.params.items() if key != "include"}
    person = world.add(PERSON, account.id, {"account": account.id, **body})
    world.thin(".created", person, {"account_id": account.id})
    return Answer(person)


def update_person(world: World, call: Call) -> Answer:
    """Merge what is given into a person."""
    account = find(world, call, call.ids[0])
    person = world.find(PERSON, call.ids[1], account.id)
    person.data.update({key: value for key, value in call.params.items() if key != "include"})
    world.thin(".updated", person, {"account_id": account.id})
    return Answer(person)


def delete_person(world: World, call: Call) -> Answer:
    """Take a person away."""
    account = find(world, call, call.ids[0])
    person = world.find(PERSON, call.ids[1], account.id)
    del world.records[person.id]
    world.all(PERSON, account.id).remove(person)
    world.thin(".deleted", person, {"account_id": account.id})
    return Answer(body={"id": person.id, "object": PERSON, "deleted": True})


def persons(world: World, call: Call) -> Answer:
    """The persons of an account."""
    account = find(world, call, call.ids[0])
    return listing.v2(call, world.all(PERSON, account.id), lambda _: True, lambda r: r.data)


def retrieve_person(world: World, call: Call) -> Answer:
    """One person."""
    account = find(world, call, call.ids[0])
    return Answer(world.find(PERSON, call.ids[1], account.id))
