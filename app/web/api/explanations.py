"""Why an account stands where it stands: the explanation, and the journal as a chain of causes."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.errors import NotFound
from app.ops import chains
from app.store import views
from app.web import schemas, shown
from app.web.api.accounts import AccountPath, BySeq, must_know
from app.web.deps import Json, Reader, Svc, reading
from app.web.problems import documented

router = APIRouter(tags=["accounts"])


class NextCall(BaseModel):
    """What goes to Stripe by itself next."""

    what: str = Field(description="Kind of the command, or `read`: the object of an event.", examples=["create_card"])
    id: str = Field(description="The command, or the event.", examples=["cmd_9c1185a5c5e9fc54612808977e"])
    at: schemas.Time
    attempts: int | None = Field(description="Tries so far.", examples=[2])
    stopped: bool = Field(description="Whether a hold or a brake stops it.", examples=[False])


class Explanation(BaseModel):
    """Where an account stands, what it waits for and whom, what comes next, and what would help."""

    id: schemas.AccountId
    state: str = Field(description="Lifecycle state.", examples=["funding"])
    stage: str = Field(description="The same.", examples=["funding"])
    since: schemas.Time
    held: schemas.Hold | None = Field(description="Set while automation is stopped.")
    waiting_for: schemas.Waiting | None = Field(description="Null when nothing is due: live and closed.")
    next_command: str | None = Field(description="The command that follows by itself.", examples=["create_card"])
    next_call: NextCall | None = Field(description="The next call to Stripe, when one is due.")
    last_error: schemas.LastError | None = Field(description="What went wrong and is not over.")
    error_in_words: str | None = Field(
        description="The same in plain words.", examples=["Stripe did not answer in time."]
    )
    requirements: list[dict[str, Any]] = Field(
        description="Who must do what by when, the most urgent first: `{what, who, by, consequence, future}`.",
        examples=[[]],
    )
    plain: str = Field(
        description="All of it in a few sentences.", examples=["The account is live. It waits for nothing."]
    )
    commands: list[str] = Field(
        description="The three commands that would help.", examples=[["cardrail accounts journal acct_1"]]
    )


class Behind(BaseModel):
    """The event behind a journal line."""

    model_config = ConfigDict(extra="allow")
    id: str = Field(description="The event.", examples=["evt_1"])
    type: str = Field(description="Its type.", examples=["issuing_card.created"])
    source: str = Field(description="webhook, response, poll, request or timer.", examples=["webhook"])
    caused_by: str | None = Field(description="Command or event that it came from.", examples=[None])
    caused: list[dict[str, Any]] = Field(description="Events that came from it.", examples=[[]])


class Issued(BaseModel):
    """A command issued with a journal line, and what it caused."""

    model_config = ConfigDict(extra="allow")
    id: str = Field(description="The command.", examples=["cmd_9c1185a5c5e9fc54612808977e"])
    kind: str | None = Field(description="What it asks for.", examples=["create_card"])
    status: str | None = Field(description="How it stands.", examples=["settled"])
    caused: list[dict[str, Any]] = Field(description="Events that came from it.", examples=[[]])


class ChainedLine(schemas.JournalLine):
    """A journal line with its causes and effects."""

    event: Behind | None = Field(description="The event behind it.")
    issued: list[Issued] = Field(description="The commands issued with it.")


@router.get("/accounts/{account_id}/explanation", response_model=Explanation, responses=documented(401, 403, 404))
async def explain_account(services: Svc, _who: Reader, account_id: AccountPath) -> Response:
    """What the account waits for and whom, what comes next by itself, and what would help."""
    async with reading(services) as conn:
        row = await views.account(conn, account_id)
    if row is None:
        raise NotFound(f"There is no account {account_id}.")
    return Json(shown.explanation(row, services.programme, services.clock(), services.platform_account))


@router.get(
    "/accounts/{account_id}/chain",
    response_model=schemas.Listed[ChainedLine],
    responses=documented(400, 401, 403, 404),
)
async def read_chain(services: Svc, _who: Reader, account_id: AccountPath, asked: BySeq) -> Response:
    """The journal, oldest first, with the chain of causes: webhook, transition, command, the events it caused."""
    async with reading(services) as conn:
        await must_know(conn, account_id)
        rows = await views.journal(conn, account_id, limit=asked.fetched, after=asked.after)
        behind = await chains.behind(conn, account_id, rows)
    found = {row["seq"]: one for row, one in zip(rows, behind, strict=True)}
    return asked.of(rows, ["seq"], lambda row: shown.chained_line(row, found[row["seq"]]))
