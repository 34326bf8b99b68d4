"""Texts that are shown on one line: messages, and rows of others' data."""

from __future__ import annotations

import pytest

from paddlenlp_ext.errors import as_line, one_line


@pytest.mark.parametrize(
    "text",
    ["می\u200cکنم", "👩\u200d👧 family", "soft\u00adhyphen", "rtl\u200fmark", "日本語", "a\ue000b"],
)
def test_what_a_language_needs_is_kept(text: str) -> None:
    assert as_line(text) == text


@pytest.mark.parametrize("space", ["\t", "\n", "\r\n", "\xa0", "\u202f", "\u3000", "\u2028"])
def test_spaces_of_all_kinds_are_one(space: str) -> None:
    assert as_line(f"Qui\u00a0{space}?") == "Qui ?"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\0b", "a\\x00b"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u2067b", "a\\u2067b"),
        ("a\udc80b", "a\\udc80b"),
    ],
)
def test_what_would_spoil_a_line_is_escaped(text: str, line: str) -> None:
    assert as_line(text) == one_line(text) == line


def test_long_texts_lose_their_middle() -> None:
    assert as_line("ab " * 99, 20) == "ab ab a … b ab ab ab"
