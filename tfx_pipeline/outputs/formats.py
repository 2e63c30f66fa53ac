"""An answer about a song as a table for people, as CSV and as JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfx_pipeline.contract.text import on_one_line
from tfx_pipeline.outputs.answers import Answer, Listener, Match

_WIDTH, _CHANCE_WIDTH = 36, 19
_REASONS = 3
_SHARES = 3
_SMALLEST_SHARE = 0.0005  # what three digits show
_COLUMNS = ("kind", "rank", "id", "title", "score", "why", "shares", "chance", "chance_low", "chance_high")


def as_table(answer: Answer) -> str:
    """Returns lines for a terminal, with characters escaped that would end a line or change its direction."""
    name = _shown(answer.title, answer.song_id or "the song given")
    named = f" ({on_one_line(answer.song_id)})" if answer.song_id and answer.title else ""
    origin = f"run {answer.run_id}, " if answer.run_id else ""
    split = f", split {answer.split}" if answer.split else ""
    lines = [f"{name}{named}{split}; {origin}model {answer.model_version}"]
    if answer.matches:
        if answer.reliability is not None:
            lines.append(f"  reliability of the matches: {answer.reliability:.2f} (0 to 1: the recall to expect)")
        lines += _matches(answer.matches)
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
        common, shares = _in_words(match.in_common), _all_shares(match.shares)
        chances = match.chance, match.chance_low, match.chance_high
        writer.writerow(("match", match.rank, match.song_id, match.title, match.score, common, shares, *chances))
    for listener in answer.listeners:
        why = "plays " + ", ".join(title or song for song, title, _ in listener.plays) if listener.plays else ""
        kind = "listener" if listener.group == "target" else listener.group
        writer.writerow((kind, listener.rank, listener.user_id, None, listener.score, why, *[None] * 4))
    return text.getvalue()


def as_json(answer: Answer) -> str:
    """Returns one JSON object."""
    content = {
        **{name: getattr(answer, name) for name in ("song_id", "title", "split", "run_id", "model_version")},
        "reliability": answer.reliability,
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


def _matches(matches: Sequence[Match]) -> list[str]:
    has_chances = matches[0].chance is not None
    title = f"{'chance [95 %]':<{_CHANCE_WIDTH}}" if has_chances else ""
    lines = [f"  {'similar songs':<44}score  {title}in common | what gives the score"]
    for match in matches:
        why = " | ".join(part for part in (_in_words(match.in_common), _largest(match.shares)) if part)
        lines.append(_line(match.rank, _shown(match.title, match.song_id), match.score, _chance(match) + why))
    if has_chances:
        lines.append("  (chance: how likely a match is among the 20 songs of most similar audience)")
    return lines


def _chance(match: Match) -> str:
    """Returns the chance with its interval, as `0.34 [0.28, 0.41]`; nothing where there is none."""
    if match.chance is None:
        return ""
    shown = f"{match.chance:.2f} [{match.chance_low:.2f}, {match.chance_high:.2f}]"
    return f"{shown:<{_CHANCE_WIDTH}}"


def _shown(title: str | None, song_id: str) -> str:
    return on_one_line(title or song_id, _WIDTH)


def _largest(shares: Mapping[str, float]) -> str:
    """Returns the largest shares of a score by absolute value, as `genre +0.310, rest -0.020`."""
    shown = sorted(shares.items(), key=lambda share: -abs(share[1]))[:_SHARES]
    return ", ".join(f"{_short(name)} {share:+.3f}" for name, share in shown if abs(share) >= _SMALLEST_SHARE)


def _all_shares(shares: Mapping[str, float]) -> str:
    return "; ".join(f"{_short(name)} {share:.6g}" for name, share in shares.items())


def _short(name: str) -> str:
    """Returns the name of a field without its group. Other parts have no group."""
    return on_one_line(name.partition("_")[2] or name)


def _in_words(shared: Mapping[str, list[Any]]) -> str:
    """Returns shared values by field, without the names of groups, as `genre rock; tags live, loud`."""
    parts = [(name.partition("_")[2], ", ".join(map(_value, values))) for name, values in shared.items()]
    return "; ".join(f"{name} {values}" for name, values in parts)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else on_one_line(str(value))
