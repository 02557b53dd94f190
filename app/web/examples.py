"""Whole examples of bodies, put together from the examples of the fields: one place per field says what it looks like."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]


def example_of(schema: Schema, schemas: Mapping[str, Schema]) -> Any:
    """An example of ``schema``; ``schemas`` are the named ones that it may refer to."""
    if "examples" in schema:
        return schema["examples"][0]
    if "example" in schema:
        return schema["example"]
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], schemas)
    if "const" in schema or "enum" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    if schema.get("type") == "array":
        items = schema.get("items")
        return [example_of(items, schemas)] if items else []
    if schema.get("type") == "object" or "properties" in schema:
        return {name: example_of(value, schemas) for name, value in schema.get("properties", {}).items()}
    return schema.get("default")
