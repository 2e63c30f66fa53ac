"""An answer about a song as a table for people, as CSV and as JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from tfx_pipeline.contract.text import on_one_line
from tfx_pipeline.outputs.answers import Answer, Listener

_WIDTH = 36
_REASONS = 3
_COLUMNS = ("kind", "rank", "id", "title", "score", "why")


def as_table(answer: Answer) -> str:
    """Returns lines for a terminal; what would turn or end a line is escaped."""
    name = _shown(answer.title, answer.song_id or "the song given")
    named = f" ({on_one_line(answer.song_id)})" if answer.song_id and answer.title else ""
    origin = f"run {answer.run_id}, " if answer.run_id else ""
    split = f", split {answer.split}" if answer.split else ""
    lines = [f"{name}{named}{split}; {origin}model {answer.model_version}"]
    if answer.matches:
        lines.append(f"  {'similar songs':<44}score  in common")
        for match in answer.matches:
            lines.append(_line(match.rank, _shown(match.title, match.song_id), match.score, _in_words(match.in_common)))
    if answer.listeners:
        lines.append(f"  {'listeners':<44}score  because they play")
        for listener in answer.listeners:
            aside = "" if listener.group == "target" else f"  ({listener.group})"
            plays = ", ".join(_shown(title, song) for song, title, _ in listener.plays[:_REASONS])
            lines.append(_line(listener.rank, on_one_line(listener.user_id, _WIDTH), listener.score, plays + aside))
    if answer.note:
        lines.append(f"  {answer.note}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def as_csv(answer: Answer) -> str:
    """Returns one row for each match and each listener."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for match in answer.matches:
        writer.writerow(("match", match.rank, match.song_id, match.title, match.score, _in_words(match.in_common)))
    for listener in answer.listeners:
        why = "plays " + ", ".join(title or song for song, title, _ in listener.plays) if listener.plays else ""
        kind = "listener" if listener.group == "target" else listener.group
        writer.writerow((kind, listener.rank, listener.user_id, None, listener.score, why))
    return text.getvalue()


def as_json(answer: Answer) -> str:
    """Returns one JSON object."""
    content = {
        **{name: getattr(answer, name) for name in ("song_id", "title", "split", "run_id", "model_version")},
        "matches": [dataclasses.asdict(match) for match in answer.matches],
        "listeners": [_listener(listener) for listener in answer.listeners],
        "note": answer.note or None,
    }
    return json.dumps(content) + "\n"


FORMATS: dict[str, Callable[[Answer], str]] = {"table": as_table, "csv": as_csv, "json": as_json}


def _listener(listener: Listener) -> dict[str, Any]:
    plays = [{"song_id": song, "title": title, "score": score} for song, title, score in listener.plays]
    return {**dataclasses.asdict(listener), "plays": plays}


def _line(rank: int, name: str, score: float, why: str) -> str:
    return f"  {rank:>3}. {name:<38}{score:6.3f}  {why}"


def _shown(title: str | None, song_id: str) -> str:
    return on_one_line(title or song_id, _WIDTH)


def _in_words(shared: Mapping[str, list[Any]]) -> str:
    """`genre rock; tags live, loud`: fields without the name of their group."""
    parts = [(name.partition("_")[2], ", ".join(map(_value, values))) for name, values in shared.items()]
    return "; ".join(f"{name} {values}" for name, values in parts)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else on_one_line(str(value))
