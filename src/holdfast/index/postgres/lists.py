"""Lists that come as JSON text, what is asked of metadata, and keys of declared indexes, in PostgreSQL's words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from peewee import TextField

from holdfast.index import tables
from holdfast.index.postgres.tokens import closing, is_name

_SIGNS = frozenset({"=", "<", "<=", ">", ">="})
_FIELDS = [field for model in tables.models().all() for field in model._meta.sorted_fields]
_TEXTS = frozenset(field.column_name for field in _FIELDS if isinstance(field, TextField)) - frozenset(
    field.column_name for field in _FIELDS if not isinstance(field, TextField)
)
"""Columns that hold text in every table that has one of that name."""
_EACH = "json_each"
_VALUES_OF = '"metadata_value"'
_DECLARED = re.compile(r"d\d+\.value")


def lists(found: list[str]) -> list[str]:
    """`json_each`: a function of our own, whose value is a number, or text where it is compared with text."""
    aliases = set()
    out: list[str] = []
    place = 0
    while place < len(found):
        if found[place : place + 2] != [_EACH, "("]:
            out.append(found[place])
            place += 1
            continue
        end = closing(found, place + 1)
        inside, place, alias = found[place + 2 : end], end + 1, _EACH
        if found[place : place + 1] == ["AS"]:
            place += 1
        if place < len(found) and is_name(found[place]):
            alias = found[place]
            place += 1
        aliases.add(alias)
        out += ["each", "(", *inside, ")", "AS", alias]
    return _values(out, aliases)


def _values(found: list[str], aliases: set[str]) -> list[str]:
    out: list[str] = []
    place = 0
    while place < len(found):
        word = found[place]
        alias = word.removesuffix(".value")
        if word == "value" and found[place + 1 : place + 3] == ["FROM", "each"]:
            out += _cast("value", "#>> '{}'", text=False)
        elif alias != word and alias in aliases:
            out += _cast(word, "#>> '{}'", text=_with_text(out))
        elif word == "json_extract" and found[place + 2].removesuffix(".value") in aliases:
            number = found[place + 4].strip("'$[]")
            out += _cast(found[place + 2], f"->> {number}", text=_with_text(out))
            place += 5
        else:
            out.append(word)
        place += 1
    return out


def _with_text(before: Sequence[str]) -> bool:
    """Whether what comes next is compared with a column of text."""
    return len(before) > 1 and before[-1] == "=" and before[-2].rpartition(".")[2] in _TEXTS


def _cast(value: str, way: str, *, text: bool) -> list[str]:
    return ["(", value, *way.split(" "), ")", *([] if text else ["::bigint"])]


def metadata(found: list[str]) -> list[str]:
    """`json_extract(t3.metadata, ?) = ?`: the derived column narrows; where there is none, Python alone decides."""
    out: list[str] = []
    place = 0
    while place < len(found):
        if found[place] == "json_extract" and found[place + 2].endswith(".metadata"):
            column, mark, sign, value = found[place + 2], found[place + 4], found[place + 6], found[place + 7]
            json = f"{column}_json"
            out += [
                "(",
                "CASE",
                "WHEN",
                json,
                "IS",
                "NULL",
                "THEN",
                column,
                "IS",
                "NOT",
                "NULL",
                "ELSE",
                "coalesce",
                "(",
            ]
            out += ["jsonb_path_query_first", "(", json, ",", "(", "'strict '", "||", mark, ")", "::jsonpath", ","]
            out += ["'{}'", ",", "true", ")", sign, "to_jsonb", "(", value, ")", ",", "FALSE", ")", "END", ")"]
            place += 8
        else:
            out.append(found[place])
            place += 1
    return out


def declared(found: list[str]) -> list[str]:
    """Keys in declared indexes, which SQLite orders by their sort: here as bytes in the same order (sortable.py)."""
    out: list[str] = []
    own, listed, width = _VALUES_OF in found, False, 0
    inserts = own and found[0] == "INSERT"
    for word in found:
        width = 0 if word == "(" else width + 1 if word[0] == "?" else width
        compared = (
            len(out) > 1 and out[-1] in _SIGNS and (_DECLARED.fullmatch(out[-2]) or (own and out[-2] == '"value"'))
        )
        listed = (listed and word != ")") or (word == "(" and out[-1:] == ["IN"] and bool(_DECLARED.fullmatch(out[-2])))
        if word[0] == "?" and (compared or listed or (inserts and width == 2)):
            out += ["sortable", "(", word, ")"]
        else:
            out.append(word)
    return out
