"""Which content is text, and how its bytes are read."""

from __future__ import annotations

import codecs
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.search import MAX_TEXT_BYTES, LeftOut, extract, left_out

UNKNOWN = "application/octet-stream"


@pytest.mark.parametrize(
    ("media_type", "name", "data", "expected"),
    [
        ("text/plain", "a.txt", b"plain", "plain"),
        ("text/plain", "a.txt", b"", ""),
        (UNKNOWN, "Makefile", b"all:\n\techo", "all:\n\techo"),
        (UNKNOWN, "x", "größe".encode(), "größe"),
        ("application/json", "a", b'{"a": 1}', '{"a": 1}'),
        ("application/x-yaml", "a", b"a: 1", "a: 1"),
        ("application/toml", "a", b"a = 1", "a = 1"),
        ("application/javascript", "a", b"let x", "let x"),
        ("application/ld+json", "a", b"{}", "{}"),
        ("image/svg+xml", "a.svg", b"<svg/>", "<svg/>"),
        ("image/svg+xml; charset=utf-8", "a", b"<svg/>", "<svg/>"),
        ("video/mp2t", "code.ts", b"const x: number = 1", "const x: number = 1"),
        ("", "", b"text", "text"),
        ("no media type at all", "x", b"text", "text"),
        ("text/plain", "a", codecs.BOM_UTF8 + b"marked", "marked"),
        ("text/plain", "a", "grüß".encode("utf-16"), "grüß"),
        (UNKNOWN, "a", codecs.BOM_UTF16_BE + "grüß".encode("utf-16-be"), "grüß"),
        (UNKNOWN, "a", "grüß".encode("utf-32"), "grüß"),
        ("text/plain; charset=iso-8859-1", "a", "grüß".encode("latin-1"), "grüß"),
        ('text/plain; charset="Shift_JIS"', "a", "日本語".encode("shift_jis"), "日本語"),
        ("text/html;CHARSET=windows-1251", "a", "привет".encode("cp1251"), "привет"),
        ("text/plain; charset=utf-16-le", "a", "abc".encode("utf-16-le"), "abc"),
        ("text/plain; charset=nonsense", "a", "größe".encode(), "größe"),
        ("text/plain; charset=utf-8", "a", b"caf\xe9 au lait", "café au lait"),
        ("text/plain; charset=zip", "a", b"abc", "abc"),
        ("text/plain; charset=idna", "a", b"abc", "abc"),
        ("text/plain", "a", b"caf\xe9 au lait", "café au lait"),
        (UNKNOWN, "a", b"\x1b[31mred\x1b[0m and\x0cfeed\r\n", "\x1b[31mred\x1b[0m and\x0cfeed\r\n"),
        (UNKNOWN, "a", b"caf\xe9 au lait", None),
        (UNKNOWN, "a", b"text\0more", None),
        ("text/plain", "a", b"text\0more", None),
        ("text/plain", "a", b"x" * 100_000 + b"\0", None),
        ("text/plain", "a", "a\0b".encode("utf-16"), None),
        ("text/plain", "a", codecs.BOM_UTF16_LE + b"odd", None),
        ("text/plain; charset=utf-16-le", "a", b"a\0\0\0", None),
        (UNKNOWN, "a", bytes(range(1, 32)) * 10, None),
        ("text/plain", "a", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", None),
        ("image/png", "a.png", b"looks like text", None),
        ("application/pdf", "a.pdf", b"%PDF-1.4 looks like text", None),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "a", b"text", None),
        ("audio/mpeg", "a", b"text", None),
    ],
)
def test_content_is_read_as_text_or_not_at_all(media_type: str, name: str, data: bytes, expected: str | None) -> None:
    assert extract(media_type, data, name) == expected


def test_random_bytes_are_no_text() -> None:
    assert all(extract(UNKNOWN, os.urandom(2_000), "x") is None for _ in range(50))


@given(st.binary(max_size=200), st.text(max_size=60), st.text(max_size=20))
def test_any_bytes_type_and_name_are_taken_and_texts_have_no_nul(data: bytes, media_type: str, name: str) -> None:
    for kind in (media_type, "text/plain", f"text/plain; charset={media_type}"):
        text = extract(kind, data, name)
        assert text is None or ("\0" not in text and text.encode("utf-8") is not None)


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=200))
def test_any_text_in_utf8_comes_back(text: str) -> None:
    data = text.encode()
    if not data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)):
        assert extract(UNKNOWN, data, "x") == text


@pytest.mark.parametrize(
    ("media_type", "name", "size", "expected"),
    [
        ("text/plain", "a", MAX_TEXT_BYTES, None),
        ("text/plain", "a", MAX_TEXT_BYTES + 1, LeftOut.TOO_LARGE),
        (UNKNOWN, "a", MAX_TEXT_BYTES + 1, LeftOut.TOO_LARGE),
        ("video/mp4", "a.mp4", MAX_TEXT_BYTES + 1, LeftOut.NOT_TEXT),
        ("image/png", "a.png", 10, LeftOut.NOT_TEXT),
        ("text/plain", "a", 0, None),
    ],
)
def test_what_need_not_be_read_is_known_before(media_type: str, name: str, size: int, expected: LeftOut | None) -> None:
    assert left_out(media_type, name, size) == expected


def test_the_limit_is_at_least_a_mebibyte_and_can_be_given() -> None:
    assert MAX_TEXT_BYTES >= 1 << 20
    assert left_out("text/plain", "a", 11, limit=10) is LeftOut.TOO_LARGE
