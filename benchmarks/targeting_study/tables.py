"""Findings as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.targeting_study.counts import CUTOFFS


def quality_table(title: str, found: dict[str, Any]) -> str:
    """One row per rule: recall and precision with intervals, recall@100 by size of the audience."""
    low, high = found["audience edges"]
    head = [f"R@{k}" for k in CUTOFFS] + [f"P@{k}" for k in CUTOFFS]
    head += [f"R@100, audience ≤ {low}", f"≤ {high}", f"> {high}"]
    rows = []
    for name, row in found["rules"].items():
        cells = [_interval(row[f"{metric}@{k}"]) for metric in ("recall", "precision") for k in CUTOFFS]
        rows.append([name, *cells, *(_figure(value) for value in row["recall@100 by audience"])])
    return _table(f"{title}: {found['songs']:,} cold songs", ["rule", *head], rows)


def campaign_table(title: str, found: dict[str, Any]) -> str:
    """One row per rule: effective plays, red rate, lifts, p."""
    names = list(next(iter(found["rules"].values())))
    rows = []
    for rule, row in found["rules"].items():
        rows.append([rule, *(_cell(name, row[name]) for name in names)])
    return _table(f"{title}: {found['songs']:,} cold songs, {found['budget']} listeners each", ["rule", *names], rows)


def _cell(name: str, value: Any) -> str:
    if name.startswith("p "):
        return f"{value:.1g}" if value < 0.1 else f"{value:.2f}"
    if name.startswith("lift"):
        return "{:+.1f} % [{:+.1f}, {:+.1f}]".format(*(100 * part for part in value))
    if name.startswith("effective"):
        return "{:.2f} [{:.2f}, {:.2f}]".format(*value)
    return _interval(value)


def _interval(value: Sequence[float]) -> str:
    return f"{_figure(value[0])} [{_figure(value[1])}, {_figure(value[2])}]"


def _figure(value: float) -> str:
    return f"{value:.3f}".lstrip("0") if 0 < value < 1 else f"{value:.3f}"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
