"""The study as one HTML page that opens offline: a forest plot of differences and every table."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from benchmarks.quality.judging import METRICS  # noqa: E402

MAIN = "recall@50"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; margin: 1rem 0 }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto }
h2 { margin-top: 3rem }
"""


def page(results: Sequence[dict[str, Any]]) -> str:
    """Returns the page."""
    body = "".join(_data_set(result) for result in results)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>BCL: evidence</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>Which songs share an audience with one nobody has played?</h1>"
        "<p>Means over seeds (split and initial state), 95 % bootstrap intervals over songs; p of a paired t-test over "
        f"seeds, corrected by Holm over the rows of a table.</p>{body}</body></html>\n"
    )


def _data_set(result: dict[str, Any]) -> str:
    name, split = html.escape(result["data"]), result["splits"][0]
    parts = [
        f"<h2>{name}</h2><p>{len(result['seeds'])} seeds; first split: {split['test']:,} test songs, "
        f"{split['warm']:,} candidates.</p>"
    ]
    for task, rows in result["tasks"].items():
        parts.append(f"<h3>{html.escape(task)}</h3>{_picture(_forest(rows, task))}{_table(rows)}")
    if result["slices"]:
        parts.append(f"<h3>Slices, recall@50</h3>{_slices(result['slices'])}")
    parts.append(f"<h3>What the rows are</h3>{_rows(result['rows'])}")
    return "".join(parts)


def _forest(rows: dict[str, Any], task: str) -> Figure:
    """Recall@50 of every row with its interval, best last."""
    ordered = sorted(rows, key=lambda name: rows[name]["metrics"][MAIN]["value"])
    figure, axis = plt.subplots(figsize=(8, 0.9 + 0.28 * len(ordered)), layout="constrained")
    for place, name in enumerate(ordered):
        found = rows[name]["metrics"][MAIN]
        axis.plot([found["low"], found["high"]], [place, place], color="tab:blue", linewidth=2)
        axis.plot(found["value"], place, "o", color="tab:blue")
    if "kernel ridge" in rows:
        axis.axvline(rows["kernel ridge"]["metrics"][MAIN]["value"], color="grey", linestyle="--", linewidth=1)
    axis.set_yticks(range(len(ordered)), ordered)
    axis.set(xlabel=f"{MAIN}: {task}; dashed: kernel ridge", xlim=(0, None))
    axis.grid(axis="x", alpha=0.3)
    return figure


def _picture(figure: Figure) -> str:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg")
    plt.close(figure)
    return (
        f'<img alt="recall of every row" src="data:image/svg+xml;base64,{base64.b64encode(drawn.getvalue()).decode()}">'
    )


def _table(rows: dict[str, Any]) -> str:
    references = sorted({name for row in rows.values() for name in row.get("against", {})})
    head = ["row", *METRICS, *(f"R@50 against {name}" for name in references)]
    lines = []
    for name, row in rows.items():
        cells = [f"{row['metrics'][metric]['value']:.3f}" for metric in METRICS]
        interval = row["metrics"][MAIN]
        cells[METRICS.index(MAIN)] += f" [{interval['low']:.3f}, {interval['high']:.3f}]"
        cells += [_difference(row.get("against", {}).get(reference)) for reference in references]
        lines.append([name, *cells])
    return _html_table(head, lines)


def _difference(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    p = "" if found["p"] is None else f", p {found['p']:.2g}"
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]{p}"


def _slices(slices: dict[str, dict[str, Any]]) -> str:
    rows = next(iter(slices.values()))
    lines = [[row, *(f"{found[row]['value']:.3f}" for found in slices.values())] for row in rows]
    return _html_table(["row", *slices], lines)


def _rows(rows: Sequence[dict[str, Any]]) -> str:
    lines = [[row["name"], row["what"], row["family"], f"{row['seconds']:.0f} s"] for row in rows]
    return _html_table(["row", "what", "part", "time"], lines)


def _html_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    rest = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{rest}</tbody></table></div>'
