"""Why, where a method is often sent without a body: the reason comes in the body as everywhere, or in the query."""

from typing import Annotated

from fastapi import Body, Depends, Query

from app.web import schemas


def _why(
    body: Annotated[schemas.Reason | None, Body()] = None,
    reason: Annotated[
        str | None,
        Query(
            min_length=1, max_length=500, pattern=r"\S", description="Why, when no body is sent.", examples=["Checked"]
        ),
    ] = None,
) -> schemas.Reason | None:
    return body if body is not None or reason is None else schemas.Reason(reason=reason)


Why = Annotated[schemas.Reason | None, Depends(_why)]


def words(why: schemas.Reason | None) -> str | None:
    """For the audit."""
    return None if why is None else why.reason
