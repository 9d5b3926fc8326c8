"""The newest schema of an index as one text, in the dialect that is asked for."""

from __future__ import annotations

from holdfast.index.migrations.manifest import MANIFEST
from holdfast.index.postgres import schema


def text(dialect: str, name: str = schema.DEFAULT_SCHEMA) -> str:
    """SQL for `sqlite`, or for `postgresql` in the schema `name`; InvalidValueError for a name that is none."""
    if dialect == "postgresql":
        return schema.bootstrap(name)
    statements = [statement for step in MANIFEST for statement in (*step.up, schema.record(step))]
    return "".join(f"{statement};\n" for statement in statements)
