"""What needs a person, by fingerprint, and one answer for all of a fingerprint. Dry by default."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.ops import parked
from app.web import schemas
from app.web.api.ops import Operation, Wrong
from app.web.deps import Page, Reader, Svc, Write, Writing, page, reading
from app.web.problems import documented
from app.wiring import Services

router = APIRouter(tags=["operations"])

Name = Annotated[
    str,
    Path(description="As the list shows it.", examples=["pk_0f3a2b1c4d5e"], max_length=64, pattern=r"^pk_[0-9a-f]+$"),
]


class Fingerprint(BaseModel):
    """Parked things that are alike."""

    fingerprint: str = Field(description="Its short name.", examples=["pk_0f3a2b1c4d5e"])
    what: str = Field(description="event or command.", examples=["event"])
    kind: str = Field(description="Type of the event or kind of the command.", examples=["issuing_card.created"])
    code: str = Field(description="Why it is parked.", examples=["no_object"])
    count: int = Field(description="How many.", examples=[3])
    oldest: schemas.Time
    message: str | None = Field(description="One of the sentences.", examples=["data.object is missing."])
    example: str = Field(description="One of the ids.", examples=["evt_1"])


class Answered(BaseModel):
    """What an answer did, or would do (then with the group it is for)."""

    model_config = ConfigDict(extra="allow")
    dry_run: bool = Field(description="Whether nothing was done.", examples=[True])
    fingerprint: str = Field(description="What was answered.", examples=["pk_0f3a2b1c4d5e"])
    answer: str = Field(description="retry, ignore or discard.", examples=["retry"])
    done: int = Field(description="How many were answered.", examples=[0])
    refused: int = Field(description="How many changed meanwhile.", examples=[0])


@router.get("/parked", response_model=schemas.Listed[Fingerprint], responses=documented(400, 401, 403, 422))
async def list_parked(services: Svc, _who: Reader, asked: Annotated[Page, Depends(page(str))]) -> Response:
    """What needs a person, by fingerprint, largest group first."""
    async with reading(services) as conn:
        return asked.of_whole(await parked.groups(conn), "fingerprint")


@router.post("/parked/{fingerprint}/retries", status_code=202, response_model=Answered, responses=Wrong)
async def retry_parked(services: Svc, write: Writing, fingerprint: Name, body: Operation) -> Response:
    """Fold all events of a fingerprint again, or send its commands again under their own keys."""
    return await _answer(services, write, fingerprint, "retry", body)


@router.post("/parked/{fingerprint}/ignores", status_code=202, response_model=Answered, responses=Wrong)
async def ignore_parked(services: Svc, write: Writing, fingerprint: Name, body: Operation) -> Response:
    """Close all events of a fingerprint without effect."""
    return await _answer(services, write, fingerprint, "ignore", body)


@router.post("/parked/{fingerprint}/discards", status_code=202, response_model=Answered, responses=Wrong)
async def discard_parked(services: Svc, write: Writing, fingerprint: Name, body: Operation) -> Response:
    """Give all commands of a fingerprint up."""
    return await _answer(services, write, fingerprint, "discard", body)


async def _answer(services: Services, write: Write, name: str, answer: str, body: Operation) -> Response:
    async def work() -> dict[str, Any]:
        if body.dry_run:
            async with reading(services) as conn:
                found = await parked.group(conn, name)
            parked.check(found, answer)
            return {"dry_run": True, "answer": answer, "done": 0, "refused": 0, **found}
        actor = write.actor(body.reason)
        return {
            "dry_run": False,
            **await parked.answer_all(services.pool, name, answer, actor, at_ms=services.clock()),
        }

    return await write.apart(work, body)
