"""The bytes of a change that is put together by hand are those of canonical JSON, and what is wrong is told alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidValueError
from holdfast.values import bodies, canon

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.integers(-(1 << 70), 1 << 70) | st.booleans() | st.none()
REVISION = st.fixed_dictionaries(
    {"digest": TEXT, "size": st.integers(0, 1 << 62), "media_type": TEXT},
    optional={"metadata": st.dictionaries(TEXT, st.none() | st.floats(allow_nan=False, allow_infinity=False) | TEXT),
              "message": TEXT, "source": TEXT, "mode": NUMBER, "mtime_ns": NUMBER, "other": TEXT},
)  # fmt: skip
NEW = st.fixed_dictionaries(
    {"collection": TEXT, "name": TEXT, "type": TEXT, "status": TEXT, "revision": REVISION},
    optional={"tags": st.lists(TEXT), "owner": TEXT, "name_hex": TEXT},
)
BODY = st.fixed_dictionaries(
    {"kind": st.sampled_from(["artifact", "collection"]), "action": st.just("create"), "id": TEXT, "new": NEW},
    optional={"note": TEXT, "run": TEXT},
)


FOLDER = st.fixed_dictionaries(
    {"name": TEXT, "parent": TEXT}, optional={"mode": NUMBER, "mtime_ns": NUMBER, "name_hex": TEXT, "tenant": TEXT}
)
COLLECTION = st.fixed_dictionaries(
    {"kind": st.just("collection"), "action": st.just("create"), "id": TEXT, "new": FOLDER}, optional={"note": TEXT}
)


@given(BODY | COLLECTION)
def test_it_is_canonical_json(body: dict[str, Any]) -> None:
    assert bodies.encode(body) == canon.encode(body)


@pytest.mark.parametrize("field", ["name", "source", "message", "media_type"])
def test_a_lone_surrogate_is_refused_with_its_place(field: str) -> None:
    revision: dict[str, Any] = {"digest": "d", "size": 1, "media_type": "m"}
    new: dict[str, Any] = {"collection": "c", "name": "n", "type": "t", "status": "s", "revision": revision}
    (new if field == "name" else revision)[field] = "a\ud800"
    with pytest.raises(InvalidValueError, match=field):
        bodies.encode({"kind": "artifact", "action": "create", "id": "i", "new": new})


@pytest.mark.parametrize("value", [float("nan"), (1,), {1: 2}, b"x"])
def test_what_json_cannot_keep_is_refused(value: object) -> None:
    revision = {"digest": "d", "size": 1, "media_type": "m", "metadata": {"a": value}}
    new = {"collection": "c", "name": "n", "type": "t", "status": "s", "revision": revision}
    with pytest.raises(InvalidValueError):
        bodies.encode({"kind": "artifact", "action": "create", "id": "i", "new": new})
