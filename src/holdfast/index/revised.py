"""How revisions are found: an artifact's first and a content's first by key, the others by index. Text of conditions.

The change that makes an artifact makes its first revision, and the change that first speaks of a content makes a
revision that has it; the key of a row is the seq of its change (docs/design/002). So most revisions need no entry in an
index of (artifact, number), nor in one of contents (docs/design/034). The parts after OR say what these indexes leave
out, in the words in which they say it: else SQLite does not use them.
"""

from __future__ import annotations

FIRST = 1
"""The number of the revision whose key is that of its artifact."""


def of_content(alias: str, content: str) -> str:
    """Rows of `revision` that have a content, whose key is an expression."""
    other = f"{alias}.content = {content} AND {alias}.content <> {alias}.key"
    return f"({alias}.key = {content} OR ({other})) AND {alias}.content = {content}"


def of_artifact(alias: str, artifact: str) -> str:
    """Rows of `revision` that an artifact has, whose key is an expression."""
    other = f"{alias}.artifact = {artifact} AND {alias}.number > {FIRST}"
    return f"({alias}.key = {artifact} OR ({other})) AND {alias}.artifact = {artifact}"


def numbered(alias: str, artifact: str, number: str) -> str:
    """The row of `revision` that an artifact has under a number."""
    return f"{of_artifact(alias, artifact)} AND {alias}.number = {number}"


def has_in_state(content: str, state: int) -> str:
    """Whether a content, whose key is an expression, has a revision in a state. Most are told by the first look."""
    first = f"SELECT 1 FROM revision v WHERE v.key = {content} AND v.content = {content} AND v.state = {state}"
    other = f"SELECT 1 FROM revision v WHERE v.content = {content} AND v.content <> v.key AND v.state = {state}"
    return f"(EXISTS ({first}) OR EXISTS ({other}))"
