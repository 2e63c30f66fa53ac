"""Text of users in messages, on pages and in terminals."""

from __future__ import annotations

import html
import io
import json
import os
import re
import subprocess
import sys

from hypothesis import given, settings

from tests.any_text import AWKWARD, LONG, any_text
from tfx_pipeline.contract.text import on_one_line, quoted
from tfx_pipeline.reports.run_page.new_songs import Example, card
from tfx_pipeline.runtime.console import Console


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(any_text())
def test_text_is_one_line_and_what_can_be_shown_stays(text: str) -> None:
    shown = on_one_line(f"a{text}b")
    assert len(shown.splitlines()) == 1
    if all(character.isprintable() for character in text):
        assert shown == f"a{text}b"


def test_long_text_is_cut() -> None:
    assert on_one_line(LONG) == LONG[:97] + "..." and on_one_line(LONG, 36) == LONG[:33] + "..."
    assert quoted(LONG) == f"{LONG[:100]!r}... (3,000 characters)"
    assert quoted("caf\u00e9\n") == "'caf\u00e9\\n'"


def test_names_on_the_page_are_no_markup_and_isolated() -> None:
    names = [*AWKWARD, LONG]
    shown = card(Example(names[0], [(name, 0.5) for name in names], [(1.0, [n]) for n in names]))
    found = [html.unescape(name) for name in re.findall(r"<bdi>(.*?)</bdi>", shown)]
    assert found == [on_one_line(name) for name in [names[0], *names, *names]]
    assert set(re.findall(r"</?(\w+)", shown)) == {"section", "h3", "p", "ol", "li", "small", "bdi"}


def test_a_terminal_that_lacks_a_character_gets_it_escaped() -> None:
    written = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    Console(written).say("caf\u00e9 \u65e5")
    assert written.buffer.getvalue().decode("latin-1") == "caf\u00e9 \\u65e5\n"
    script = "from tfx_pipeline.runtime.console import write_text; write_text('caf\u00e9\\n')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, b"caf\\xe9\n")


def test_the_client_writes_json_for_any_terminal(monkeypatch, capsys) -> None:
    from serving.client.__main__ import _as_json

    line = {"song_id": "caf\u00e9 \u65e5"}
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert _as_json(line).isascii() and json.loads(_as_json(line)) == line
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert _as_json(line) == json.dumps(line, ensure_ascii=False)
    for text in AWKWARD:
        assert len(_as_json({"song_id": text}).splitlines()) == 1
        assert json.loads(_as_json({"song_id": text})) == {"song_id": text}
