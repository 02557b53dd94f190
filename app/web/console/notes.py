"""The sentences that stand above a page after a form: the address names one, so it cannot be made to say anything else."""

from collections.abc import Mapping

FIELDS = ("done", "answered", "refused")
DONE = {
    "held": "Held. No command of this account leaves until the hold is released.",
    "released": "Released. Automation goes on where it stopped.",
    "allowed": "One more attempt is allowed. It goes out by itself, under the caps as always.",
    "event_retried": "The event is folded again; reload to see how it ends.",
    "event_ignored": "Closed without effect. The reason stays beside the event.",
    "event_replayed": "Replayed. Below stands how the event stands now.",
    "command_retried": "The command is sent again, under its one idempotency key.",
    "command_discarded": "Given up. The account's log has learned that nothing was made.",
    "retried": "Answered: they are tried again.",
    "ignored": "Answered: closed without effect.",
    "discarded": "Answered: given up.",
    "brake_on": "The brake is on: this step stands still everywhere.",
    "brake_off": "The brake is released: this step goes on.",
    "replay_started": "The job was made; below stands how far it is.",
    "replay_stopped": "Stopped. What it did stays done.",
    "replay_confirmed": "Confirmed: it runs.",
}


def done(asked: Mapping[str, str]) -> str:
    """What the last form did, with its counts; nothing when none was sent."""
    said = DONE.get(asked.get("done", ""), "")
    counts = [f"{name}: {asked[name]}" for name in FIELDS[1:] if asked.get(name, "").isdecimal()]
    return f"{said} ({', '.join(counts)})" if said and counts else said
