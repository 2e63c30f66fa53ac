"""The study as results.json, Markdown tables and an HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.page import page
from benchmarks.quality.parts import names, parts_markdown
from benchmarks.quality.results import main_metric, results
from benchmarks.quality.study import Study
from benchmarks.quality.words import TITLES, ceiling_words, difference_words, shown_metrics
from benchmarks.targeting_study.tables import read_tables
from serving.files.whole_files import write_whole


def write(studies: Sequence[Study], out: Path, targeting: Path | None = None) -> None:
    """Writes the files, each whole or not at all; the page also shows what `benchmarks.targeting` left in a folder."""
    found = [results(study) for study in studies]
    write_whole(out / "results.json", json.dumps(found, indent=1, allow_nan=False))
    parts = parts_markdown(found) if names(found) else []
    write_whole(out / "table.md", "\n".join([*parts, *(line for one in found for line in markdown(one))]) + "\n")
    write_whole(out / "report.html", page(found, read_tables(targeting) if targeting else ()))


def markdown(result: dict[str, Any]) -> list[str]:
    """Returns the lines of a data set's tables."""
    splits = result["splits"]
    first = f"{splits[0]['test']} test songs, {splits[0]['warm']} candidates"
    lines = [
        f"## {result['data']}",
        "",
        f"{len(splits)} splits; the first has {first}. Means over splits, 95 % intervals over songs, p of the "
        "corrected resampled t-test after Holm over all comparisons.",
        "",
        ceiling_words(result["ceiling"]),
    ]
    for task, rows in result["tasks"].items():
        lines += ["", f"### {task}", "", *_table(rows, task, result["reference"])]
        if last := result["last tenth"].get(task):
            lines += ["", f"The last tenth, {task}:", "", *_table(last, task, result["reference"])]
    if result["sweeps"]:
        lines += ["", "### Settings varied one by one, R@50", "", *_sweep_table(result["sweeps"])]
    for task, of_task in result["slices"].items():
        if of_task:
            lines += ["", f"### Slices of {task}, {main_metric(task)}", "", *_slice_table(of_task, main_metric(task))]
    return [*lines, ""]


def _table(rows: dict[str, Any], task: str, reference: str | None) -> list[str]:
    metrics, main = shown_metrics(rows), main_metric(task)
    against = f"{TITLES[main]} against {reference}"
    lines = [
        f"| row | {' | '.join(TITLES[m] for m in metrics)} | {against} |",
        f"| --- |{' --- |' * (len(metrics) + 1)}",
    ]
    for name, row in rows.items():
        cells = [f"{row['metrics'][metric]['value']:.3f}" for metric in metrics]
        estimate = row["metrics"][main]
        cells[metrics.index(main)] += f" [{estimate['low']:.3f}, {estimate['high']:.3f}]"
        lines.append(f"| {' | '.join([name, *cells, difference_words(row.get('against'))])} |")
    return lines


def _slice_table(slices: dict[str, dict[str, Any]], metric: str) -> list[str]:
    names = list(slices)
    lines = [f"| row | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for row in slices[names[0]]:
        cells = [f"{slices[name][row]['metrics'][metric]['value']:.3f}" for name in names]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def _sweep_table(sweeps: dict[str, Any]) -> list[str]:
    lines = ["| setting | value | task | R@50 | splits |", "| --- | --- | --- | --- | --- |"]
    for setting, sweep in sweeps.items():
        for task, recalls in sweep["recall"].items():
            for value, found in zip(sweep["values"], recalls, strict=True):
                shown = f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
                lines.append(f"| {setting} | {value:g} | {task} | {shown} | {len(sweep['seeds'])} |")
    return lines
