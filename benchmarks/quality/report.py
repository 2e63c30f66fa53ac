"""The study as results.json, a Markdown table and an HTML page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.judging import METRICS
from benchmarks.quality.page import page
from benchmarks.quality.statistics import holm, mean_of_seeds, p_over_seeds
from benchmarks.quality.study import Study
from benchmarks.quality.tasks import DAY_ZERO, LISTENERS, SIMILAR_20, SIMILAR_50, SONGS_OF_ALL, SONGS_OF_TEST

TASKS = (SIMILAR_20, SIMILAR_50, DAY_ZERO, LISTENERS, SONGS_OF_ALL, SONGS_OF_TEST)
#: What differences are taken to.
REFERENCES = ("kernel ridge", "BPR only")
MAIN = "recall@50"


def write(studies: Sequence[Study], out: Path) -> None:
    """Writes the files, each whole or not at all."""
    found = [results(study) for study in studies]
    _replace(out / "results.json", json.dumps(found, indent=1, allow_nan=False))
    _replace(out / "table.md", "\n".join(line for result in found for line in markdown(result)) + "\n")
    _replace(out / "report.html", page(found))


def results(study: Study) -> dict[str, Any]:
    """Returns every estimate of a study, as plain values."""
    return {
        "data": study.name,
        "seeds": list(study.seeds),
        "splits": [study.split(seed) for seed in study.seeds],
        "rows": [
            {"name": row.name, "family": row.family, "what": row.what, "seconds": study.seconds(row.name)}
            for row in study.rows
        ],
        "tasks": {task: found for task in TASKS if (found := _task(study, task))},
        "slices": _slices(study),
    }


def _task(study: Study, task: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    values = {row.name: study.values(task, MAIN, row.name) for row in study.rows}
    for row in study.rows:
        if values[row.name]:
            estimates = {m: asdict(mean_of_seeds(study.values(task, m, row.name))) for m in METRICS}
            judged = [int((~np.isnan(array)).sum()) for array in values[row.name]]
            found[row.name] = {"metrics": estimates, "judged": judged}
    for reference in REFERENCES:
        if found.get(reference):
            _compare(found, values, reference)
    return found


def _compare(found: dict[str, Any], values: dict[str, list[np.ndarray]], reference: str) -> None:
    """Adds each row's paired difference to a reference row, with Holm's correction over the rows."""
    others = [name for name in found if name != reference]
    corrected = holm({name: p_over_seeds(values[name], values[reference]) for name in others})
    for name in others:
        pairs = zip(values[name], values[reference], strict=True)
        difference = asdict(mean_of_seeds([one - other for one, other in pairs]))
        p = corrected[name]
        found[name].setdefault("against", {})[reference] = {**difference, "p": None if np.isnan(p) else p}


def _slices(study: Study) -> dict[str, dict[str, Any]]:
    chosen = study.slices()
    found: dict[str, dict[str, Any]] = {}
    for name in chosen[0]:
        for row in study.rows:
            values = study.values(SIMILAR_20, MAIN, row.name)
            parts = [array[part[name]] for array, part in zip(values, chosen, strict=True)]
            if parts and all((~np.isnan(part)).any() for part in parts):
                found.setdefault(name, {})[row.name] = asdict(mean_of_seeds(parts))
    return found


def markdown(result: dict[str, Any]) -> list[str]:
    """Returns the lines of a data set's tables."""
    splits = result["splits"]
    lines = [
        f"## {result['data']}",
        "",
        f"{len(splits)} seeds (split and initial state); first split: {splits[0]['test']} test songs, "
        f"{splits[0]['warm']} candidates. Means over seeds, 95 % bootstrap intervals over songs.",
    ]
    for task, rows in result["tasks"].items():
        lines += ["", f"### {task}", "", *_table(rows)]
    if result["slices"]:
        lines += ["", f"### Slices of {SIMILAR_20}, {MAIN}", "", *_slice_table(result["slices"])]
    return [*lines, ""]


def _table(rows: dict[str, Any]) -> list[str]:
    lines = [
        "| row | R@20 | R@50 | R@100 | NDCG@50 | MRR | R@50 against kernel ridge | against BPR only |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        metrics = row["metrics"]
        cells = [f"{metrics[m]['value']:.3f}" for m in METRICS]
        cells[1] += f" [{metrics[MAIN]['low']:.3f}, {metrics[MAIN]['high']:.3f}]"
        against = [_difference(row.get("against", {}).get(reference)) for reference in REFERENCES]
        lines.append(f"| {' | '.join([name, *cells, *against])} |")
    return lines


def _difference(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    p = "" if found["p"] is None else f", p {found['p']:.3g}"
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]{p}"


def _slice_table(slices: dict[str, dict[str, Any]]) -> list[str]:
    names = list(slices)
    rows = list(slices[names[0]])
    lines = [f"| row | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for row in rows:
        cells = [f"{slices[name][row]['value']:.3f}" if row in slices[name] else "" for name in names]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".aside")
    aside.write_text(text)
    os.replace(aside, path)
