"""The figures of thirty nights, and a table of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.thirty_nights.calendar import ORDINARY
from benchmarks.thirty_nights.service import LISTENERS, OLD_SONGS, Service

#: Nights that are compared: the five after the tenth, and the last five.
_EARLY, _LATE = slice(10, 15), slice(-5, None)


def summary(nights: list[dict[str, Any]], service: Service) -> dict[str, Any]:
    """Returns whether disk and time stay flat after the tenth night, and whom new songs reached."""
    return {
        "disk": _growth(nights, lambda night: night["disk"]["all"]),
        "files": _growth(nights, lambda night: night["disk"]["files"]),
        "metadata": _growth(nights, lambda night: night["disk"].get("metadata.sqlite", 0)),
        "cpu": _growth(nights, lambda night: night["cpu"] if night["what"] == ORDINARY else None),
        "peak": _growth(nights, lambda night: night["peak"] if night["what"] == ORDINARY else None),
        "reached": reached(nights, service),
        "nights with a problem": [night["night"] for night in nights if night["problems"]],
        "nights with an id outside": [night["night"] for night in nights if night["leaks"]],
    }


def _growth(nights: list[dict[str, Any]], of: Callable[[dict[str, Any]], float | None]) -> dict[str, float] | None:
    """Returns the means of nights 11 to 15 and of the last five; None while there are fewer than twenty."""
    if len(nights) < 20:
        return None
    early, late = ([value for night in nights[part] if (value := of(night)) is not None] for part in (_EARLY, _LATE))
    if not early or not late:
        return None
    before, after = float(np.mean(early)), float(np.mean(late))
    return {"nights 11 to 15": before, "last five": after, "change": after / before - 1}


def reached(nights: list[dict[str, Any]], service: Service) -> dict[str, float]:
    """Returns how many of the first targets of new songs played them later, beside listeners drawn at random."""
    first: dict[str, set[str]] = {}
    for night in nights:
        for song, users in night["targets"].items():
            first.setdefault(song, set(users))
    came = {song for song in service.songs["song_id"].to_pylist()[OLD_SONGS:] if song in first}
    ever = service.listeners()
    later = {song: ever.get(song, set()) for song in came}
    targets = sum(len(first[song]) for song in came)
    hits = sum(len(first[song] & later[song]) for song in came)
    return {
        "songs": len(came),
        "targets": targets,
        "played": hits,
        "share": hits / max(1, targets),
        "share of anybody": sum(map(len, later.values())) / max(1, len(later) * LISTENERS),
    }


def report(found: dict[str, Any]) -> str:
    """Returns a page of Markdown."""
    totals = found["summary"]
    lines = [f"# Nights of a small service, `--keep {found['keep']}`", "", *_in_words(totals), ""]
    lines += ["| night | what | exit | outcome | seconds | CPU s | disk MB | files | problems |", "|" + " --- |" * 9]
    for night in found["nights"]:
        wrong = (
            "; ".join([*night["problems"], *(f"id in {file}" for file in night["leaks"])])
            .replace("|", "/")
            .replace("\n", " ")
        )
        cells = [night["night"], night["what"], night["exit_code"], night["outcome"] or "", night["seconds"]]
        cells += [night["cpu"], f"{night['disk']['all'] / 1e6:.1f}", night["disk"]["files"], wrong[:200]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def _in_words(totals: dict[str, Any]) -> list[str]:
    units = {"disk": (1e6, "MB"), "files": (1, "files"), "metadata": (1e6, "MB"), "cpu": (1, "s"), "peak": (1e6, "MB")}
    names = {"metadata": "ML Metadata", "cpu": "CPU of an ordinary night", "peak": "Memory of an ordinary night"}
    lines = []
    for name, (unit, word) in units.items():
        if (growth := totals[name]) is not None:
            before, after = (growth[part] / unit for part in ("nights 11 to 15", "last five"))
            lines.append(
                f"- {names.get(name, name.capitalize())}: {before:,.1f} {word} in nights 11 to 15, {after:,.1f} "
                f"in the last five ({growth['change']:+.1%})."
            )
    found = totals["reached"]
    lines.append(
        f"- {found['songs']} new songs got {found['targets']} first targets; {found['share']:.0%} of them played the "
        f"song later, as do {found['share of anybody']:.0%} of all listeners."
    )
    for name in ("nights with a problem", "nights with an id outside"):
        lines.append(f"- {name.capitalize()}: {', '.join(map(str, totals[name])) or 'none'}.")
    return lines
