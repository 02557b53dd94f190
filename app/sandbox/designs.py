"""How physical cards look (designs on bundles), and the card programs of an account."""

from app.sandbox import listing
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.errors import invalid, refused
from app.sandbox.world import World

KIND = "issuing.personalization_design"
BUNDLE = "issuing.physical_bundle"
PROGRAM = "issuing.program"
STEPS = {"activate": "active", "deactivate": "inactive"}
EVENTS = {"active": "activated", "inactive": "deactivated", "rejected": "rejected"}
EDITABLE = ("name", "lookup_key", "card_logo", "carrier_text", "physical_bundle", "metadata")


def bundles(world: World, call: Call) -> Answer:
    """The bundles that designs are made on: every account sees the one standard bundle."""
    return listing.v1(call, [standard(world, call.account)], lambda _: True, lambda r: r.data)


def standard(world: World, account: str) -> Record:
    """The account's standard bundle, made when it is first looked at."""
    known = world.all(BUNDLE, account)
    if known:
        return known[0]
    features = {"card_logo": "optional", "carrier_text": "optional", "second_line": "optional"}
    data: Json = {"name": "Sandbox standard", "status": "active", "type": "standard", "features": features}
    return world.add(BUNDLE, account, data)


def create(world: World, call: Call) -> Answer:
    """A design; one without a logo of its own is active at once, a custom one is reviewed first."""
    body = call.params
    bundle = standard(world, call.account)
    if body["physical_bundle"] != bundle.id:
        raise invalid(f"No such physical bundle: {body['physical_bundle']}", param="physical_bundle")
    data: Json = {
        **{name: body.get(name) for name in EDITABLE},
        "metadata": body.get("metadata") or {},
        "preferences": {"is_default": False, "is_platform_default": None},
        "rejection_reasons": {"card_logo": None, "carrier_text": None},
        "status": "review" if body.get("card_logo") else "active",
    }
    return Answer(world.add(KIND, call.account, data))


def update(world: World, call: Call) -> Answer:
    """Change a design; a new logo is reviewed again."""
    design = world.find(KIND, call.ids[0], call.account, "v1")
    changed = {name: design.data[name] for name in EDITABLE if name in call.params}
    design.data.update({name: call.params[name] for name in changed})
    if "card_logo" in changed:
        changed["status"], design.data["status"] = design.data["status"], "review"
    world.snapshot("updated", design, changed)
    return Answer(design)


def move(world: World, call: Call) -> Answer:
    """Test helpers: activate, deactivate, reject."""
    design = world.find(KIND, call.ids[0], call.account, "v1")
    step = call.path.rpartition("/")[2]
    before = design.data["status"]
    after = STEPS.get(step, "rejected")
    if before == after:
        raise refused("invalid_design_state", f"The design is {before} already.")
    if after == "rejected":
        reasons = call.params.get("rejection_reasons")
        if not isinstance(reasons, dict):
            raise invalid("Missing required param: rejection_reasons.", code="parameter_missing")
        design.data["rejection_reasons"] = {"card_logo": None, "carrier_text": None, **reasons}
    design.data["status"] = after
    world.snapshot(EVENTS[after], design, {"status": before})
    world.snapshot("updated", design, {"status": before})
    return Answer(design)


def program(world: World, call: Call) -> Answer:
    """A card program on the account, taken from one of the platform's."""
    default = call.params.get("is_default") == "true"
    if default:
        for other in world.all(PROGRAM, call.account):
            other.data["is_default"] = False
    data: Json = {"platform_program": call.params["platform_program"], "is_default": default}
    return Answer(world.add(PROGRAM, call.account, data))
