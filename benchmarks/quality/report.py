"""The study as results.json, a Markdown table and an HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bcl_keras.evaluation.bootstrap import interval, resampled_means
from benchmarks.quality.metrics import MAIN, METRICS
from benchmarks.quality.page import page
from benchmarks.quality.parts import names, parts, relative, verdict
from benchmarks.quality.rows import BEST, SWEEP, SWEEP_POINTS, SWEEPS, Row
from benchmarks.quality.study import Study
from benchmarks.quality.tasks import DAY_ZERO, LISTENERS, SIMILAR_20, SIMILAR_50, SONGS_OF_ALL, SONGS_OF_TEST
from benchmarks.significance import holm, mean_of_seeds, p_over_seeds
from benchmarks.targeting_study.tables import read_tables
from serving.files.whole_files import write_whole

TASKS = (SIMILAR_20, SIMILAR_50, DAY_ZERO, LISTENERS, SONGS_OF_ALL, SONGS_OF_TEST)
#: What differences are taken to.
REFERENCES = ("kernel ridge", "BPR only", BEST)
FIFTHS = 5
SHOWN_BY_POPULARITY = ("content cosine", "kernel ridge", "BPR only", "BCL", "audience ridge", "best")


def write(studies: Sequence[Study], out: Path, targeting: Path | None = None) -> None:
    """Writes the files, each whole or not at all; the page also shows what `benchmarks.targeting` left in a folder."""
    found = [results(study) for study in studies]
    write_whole(out / "results.json", json.dumps(found, indent=1, allow_nan=False))
    lines = [*parts_markdown(found), *(line for result in found for line in markdown(result))]
    write_whole(out / "table.md", "\n".join(lines) + "\n")
    write_whole(out / "report.html", page(found, read_tables(targeting) if targeting else ()))


def results(study: Study) -> dict[str, Any]:
    """Returns every estimate of a study, as plain values."""
    return {
        "data": study.name,
        "seeds": list(study.seeds),
        "splits": [study.split(seed) for seed in study.seeds],
        "rows": [
            {"name": row.name, "family": row.family, "what": row.what, "seconds": study.seconds(row.name)}
            for row in _table_rows(study)
        ],
        "tasks": {task: found for task in TASKS if (found := _task(study, task))},
        "slices": _slices(study),
        "parts": parts(study),
        "popularity": _by_popularity(study),
        "sweeps": _sweeps(study),
        "gallery": study.gallery(),
    }


def _table_rows(study: Study) -> list[Row]:
    return [row for row in study.rows if row.family != SWEEP]


def _task(study: Study, task: str) -> dict[str, Any]:
    values = {
        (row.name, metric): arrays
        for row in _table_rows(study)
        for metric in METRICS
        if (arrays := study.values(task, metric, row.name))
    }
    if not values:
        return {}
    columns = {key: place for place, key in enumerate(values)}
    tables = [np.stack([of_row[seed] for of_row in values.values()], axis=1) for seed in range(len(study.seeds))]
    draws = resampled_means(tables)
    found: dict[str, Any] = {}
    for (name, metric), arrays in values.items():
        estimate = interval(mean_of_seeds(arrays), draws[:, columns[name, metric]])
        found.setdefault(name, {"metrics": {}})["metrics"][metric] = estimate._asdict()
        found[name]["judged"] = [int((~np.isnan(array)).sum()) for array in arrays]
    for reference in REFERENCES:
        if reference in found:
            main = {name: (values[name, MAIN], draws[:, columns[name, MAIN]]) for name in found}
            _compare(found, main, reference)
    return found


def _compare(found: dict[str, Any], main: dict[str, tuple[list[np.ndarray], np.ndarray]], reference: str) -> None:
    """Adds each row's paired difference to a reference row, with Holm's correction over the rows."""
    base, base_draws = main[reference]
    others = [name for name in found if name != reference]
    corrected = holm({name: p_over_seeds(main[name][0], base) for name in others})
    for name in others:
        arrays, draws = main[name]
        difference = interval(mean_of_seeds(arrays) - mean_of_seeds(base), draws - base_draws)
        p = None if np.isnan(corrected[name]) else corrected[name]
        found[name].setdefault("against", {})[reference] = {**difference._asdict(), "p": p}


def _slices(study: Study) -> dict[str, dict[str, Any]]:
    chosen = study.slices()
    values = {row.name: study.values(SIMILAR_20, MAIN, row.name) for row in _table_rows(study)}
    found: dict[str, dict[str, Any]] = {}
    for name in chosen[0] if values else ():
        tables = [
            np.stack([arrays[i] for arrays in values.values()], axis=1)[part[name]] for i, part in enumerate(chosen)
        ]
        if all((~np.isnan(table)).any() for table in tables):
            draws = resampled_means(tables)
            found[name] = {
                row: interval(mean_of_seeds([table[:, place] for table in tables]), draws[:, place])._asdict()
                for place, row in enumerate(values)
            }
    return found


def _by_popularity(study: Study) -> dict[str, Any]:
    """Recall in fifths of the test songs by the listeners that they have in truth."""
    listeners = study.popularity()
    edges = np.unique(np.quantile(np.concatenate(listeners), np.linspace(0, 1, FIFTHS + 1)))
    place = [np.clip(np.searchsorted(edges, found, side="right") - 1, 0, len(edges) - 2) for found in listeners]
    names = [row.name for row in _table_rows(study) if row.name in SHOWN_BY_POPULARITY]
    rows: dict[str, list[Any]] = {name: [] for name in names}
    for part in range(len(edges) - 1):
        for name in names:
            arrays = study.values(SIMILAR_20, MAIN, name)
            kept = [array[of_seed == part] for array, of_seed in zip(arrays, place, strict=True)]
            rows[name].append(_estimate(kept))
    return {"edges": edges.tolist(), "rows": rows}


def _sweeps(study: Study) -> dict[str, Any]:
    """Recall by value of each setting over the seeds that have all values; with day zero's fields withheld, too."""
    found: dict[str, Any] = {}
    for setting, points in SWEEP_POINTS.items():
        by_task = {}
        swept = study.having(points.values())
        for task in (SIMILAR_20, DAY_ZERO):
            arrays = [swept.values(task, MAIN, row) for row in points.values()]
            if swept.seeds and all(arrays):
                by_task[task] = [_estimate(of_value) for of_value in arrays]
        if by_task:
            found[setting] = {
                "what": SWEEPS[setting][0],
                "values": list(points),
                "seeds": list(swept.seeds),
                "recall": by_task,
            }
    return found


def _estimate(arrays: Sequence[np.ndarray]) -> dict[str, float] | None:
    """Mean over seeds with its interval; nothing where a seed has no song."""
    if not all((~np.isnan(array)).any() for array in arrays):
        return None
    draws = resampled_means([array[:, None] for array in arrays])
    return interval(mean_of_seeds(arrays), draws[:, 0])._asdict()


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
    if result["sweeps"]:
        lines += ["", "### Settings varied one by one, R@50", "", *_sweep_table(result["sweeps"])]
    if result["slices"]:
        lines += ["", f"### Slices of {SIMILAR_20}, {MAIN}", "", *_slice_table(result["slices"])]
    return [*lines, ""]


def parts_markdown(results: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the lines that say what each part of the method brings."""
    if not names(results):
        return []
    lines = ["## What each part brings", "", "| part | data | slice | R@50, relative |", "| --- | --- | --- | --- |"]
    for name in names(results):
        for result in results:
            for part in result["parts"]:
                shown = part["slices"].items() if part["name"] == name else ()
                lines += [f"| {name} | {result['data']} | {s} | {relative(found)} |" for s, found in shown]
    return [*lines, "", *(f"- {name}: {verdict(name, results)}." for name in names(results)), ""]


def _table(rows: dict[str, Any]) -> list[str]:
    lines = [
        f"| row | R@20 | R@50 | R@100 | NDCG@50 | MRR | {' | '.join(f'R@50 against {name}' for name in REFERENCES)} |",
        f"| --- |{' --- |' * (len(METRICS) + len(REFERENCES))}",
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


def _sweep_table(sweeps: dict[str, Any]) -> list[str]:
    lines = ["| setting | value | task | R@50 | seeds |", "| --- | --- | --- | --- | --- |"]
    for setting, sweep in sweeps.items():
        for task, recalls in sweep["recall"].items():
            for value, found in zip(sweep["values"], recalls, strict=True):
                shown = f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
                lines.append(f"| {setting} | {value:g} | {task} | {shown} | {len(sweep['seeds'])} |")
    return lines
