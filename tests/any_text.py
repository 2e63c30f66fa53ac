"""Ids, words and titles that break what takes text for ASCII, lines, numbers, paths or markup."""

from __future__ import annotations

from hypothesis import strategies as st

LONG = "\u00e9\U0001f3b5" * 1500  # 3,000 characters, 9,000 bytes
AWKWARD = (
    "caf\u00e9",  # one character or two for the last letter: different ids
    "cafe\u0301",
    "\u0634\u0627\u062f\u06cc \u200f(live)",
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
    "\u202egnos\u202c",
    "\U0001f469\u200d\U0001f3a4\U0001f3fd",
    "\u65e5\u672c\u8a9e",
    "\U0010ffff",
    "\ue000\ufffe",
    "tab\there",
    "two\nlines",
    "two\\nlines",
    "two\r\nlines",
    "next\x85line",
    "line\u2028separator",
    "escape\x1b[31m",
    "\x01\x7f",
    "\ufeffmark",
    "mark\ufeff",
    " leading",
    "trailing ",
    "  ",
    "\u00a0",
    "007",
    "7",
    "-1",
    "1e5",
    "None",
    "nan",
    "null",
    "\\N",
    '""',
    "../../etc/passwd",
    "a/b\\c",
    "..",
    "<script>alert('&\"')</script>",
    'comma,quote"semicolon;pipe|',
    "%00{0}$HOME*",
)


def any_text(longest: int = 20) -> st.SearchStrategy[str]:
    """Text of any code points but NUL, which the contract refuses, and lone surrogates, which UTF-8 lacks."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(characters, min_size=1, max_size=longest)
