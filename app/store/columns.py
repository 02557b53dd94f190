"""What all tables share: the metadata, and columns that look alike everywhere."""

from sqlalchemy import Column, DateTime, Integer, MetaData, text

metadata = MetaData()


def time(name: str, *, nullable: bool = False, now: bool = False) -> Column[object]:
    default = text("now()") if now else None
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=default)


def count(name: str, start: int = 0) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text(str(start)))
