"""Findings as tables, and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.targeting_study.counts import CUTOFFS

QUALITY, CAMPAIGN = "quality-", "campaign-"
LIFT = "lift over count"


class Table(NamedTuple):
    """What a finding says in words.

    Attributes:
        title: What was judged.
        head: Titles of the columns.
        rows: Cells, the rule first.
        lifts: Of a campaign, the lift over `count` with its interval, by rule.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    lifts: dict[str, list[float]]

    def markdown(self) -> str:
        """Returns the table under its title."""
        lines = [f"### {self.title}", "", "| " + " | ".join(self.head) + " |", "|" + " --- |" * len(self.head)]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"


def read_tables(folder: Path) -> list[Table]:
    """Returns the tables of what `benchmarks.targeting` wrote into a folder, in the order of their names."""
    tables = []
    for file in sorted(folder.glob("*.json")):
        for kind, make in ((CAMPAIGN, campaign_table), (QUALITY, quality_table)):
            if file.name.startswith(kind):
                tables.append(make(file.stem.removeprefix(kind), json.loads(file.read_text())))
    return tables


def quality_table(title: str, found: dict[str, Any]) -> Table:
    """One row per rule: recall and precision with intervals, recall@100 by size of the audience."""
    low, high = found["audience edges"]
    head = [f"R@{k}" for k in CUTOFFS] + [f"P@{k}" for k in CUTOFFS]
    head += [f"R@100, audience ≤ {low}", f"≤ {high}", f"> {high}"]
    rows = []
    for name, row in found["rules"].items():
        cells = [_interval(row[f"{metric}@{k}"]) for metric in ("recall", "precision") for k in CUTOFFS]
        rows.append([name, *cells, *(_figure(value) for value in row["recall@100 by audience"])])
    return Table(f"{title}: {found['songs']:,} cold songs", ["rule", *head], rows, {})


def campaign_table(title: str, found: dict[str, Any]) -> Table:
    """One row per rule: effective plays, red rate, lifts, p."""
    names = list(next(iter(found["rules"].values())))
    rows = []
    for rule, row in found["rules"].items():
        rows.append([rule, *(_cell(name, row[name]) for name in names)])
    lifts = {rule: list(row[LIFT]) for rule, row in found["rules"].items()}
    return Table(
        f"{title}: {found['songs']:,} cold songs, {found['budget']} listeners each", ["rule", *names], rows, lifts
    )


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
