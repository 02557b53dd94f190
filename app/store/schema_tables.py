"""All tables on one metadata: importing this module declares every one of them."""

from app.store import service_tables, tables
from app.store.columns import metadata

__all__ = ["metadata", "service_tables", "tables"]
