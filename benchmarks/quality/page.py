"""The study as one HTML page that opens offline: every table, pictures and worked examples."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks.quality import pictures
from benchmarks.quality.parts import SLICES, names, relative, verdict
from benchmarks.quality.results import main_metric
from benchmarks.quality.words import TITLES, ceiling_words, difference_words, shown_metrics
from benchmarks.targeting_study.tables import Table
from tfx_pipeline.reports.html import document, table

STYLE = ".right { font-weight: bold }"


def page(results: Sequence[dict[str, Any]], targeting: Sequence[Table] = ()) -> str:
    """Returns the page; with tables of `benchmarks.targeting`, what they say too."""
    body = _parts(results) + "".join(_data_set(result) for result in results) + _targeting(targeting)
    head = (
        "<h1>Which songs share an audience with one nobody has played?</h1>"
        "<p>Means over splits, 95 % intervals over songs: songs are drawn once for all splits. p is that of the "
        "corrected resampled t-test over splits (Nadeau and Bengio), after Holm's correction over all comparisons of a "
        "data set. What is chosen is chosen on validation songs, which are test songs of no split. A row's time leaves "
        "out what an earlier row trained.</p>"
        "<p>Two measures stand first: which listeners did play the song, and which songs share its audience. Listeners "
        "are ranked by a row's own rule, or by a weighted count of the listeners of its matches; validation songs "
        "choose how the count is taken.</p>"
        "<p>Similar songs are partly chance, because an audience is a sample. Each set says how much can be known.</p>"
    )
    return document("BCL: evidence", head + body, STYLE)


def _data_set(result: dict[str, Any]) -> str:
    name, split = html.escape(result["data"]), result["splits"][0]
    parts = [
        f"<h2>{name}</h2><p>Splits: {len(result['seeds'])}; first split: {split['test']:,} test songs, "
        f"{split['warm']:,} candidates.</p><p>{html.escape(ceiling_words(result['ceiling']))}</p>"
    ]
    for task, rows in result["tasks"].items():
        picture = _picture(pictures.forest(rows, task, main_metric(task), result["reference"]))
        parts.append(f"<h3>{html.escape(task)}</h3>{picture}{_table(rows, task, result['reference'])}")
        if last := result["last tenth"].get(task):
            parts.append(f"<h4>The last tenth</h4>{_table(last, task, result['reference'])}")
    if result["parts"]:
        parts.append(f"<h3>What each part brings</h3>{_parts_table(result['parts'])}")
    for task, of_task in result["slices"].items():
        if of_task:
            parts.append(f"<h3>Slices: {html.escape(task)}</h3>{_slices(of_task, main_metric(task))}")
    parts.append(f"<h3>Known and unknown songs</h3>{_picture(pictures.by_popularity(result['popularity']))}")
    if result["sweeps"]:
        parts.append(f"<h3>Settings varied one by one</h3>{_picture(pictures.sweeps(result['sweeps']))}")
    if shown := result["gallery"]:
        parts.append(
            f"<h3>Fields that go together</h3>{_picture(pictures.correlation(shown))}"
            f"<h3>Where songs lie</h3>{_picture(pictures.song_map(shown['map']))}"
            f"<h3>Five cold songs</h3>{_examples(shown['examples'])}"
        )
    parts.append(f"<h3>What the rows are</h3>{_rows(result['rows'])}")
    return "".join(parts)


def _parts(results: Sequence[dict[str, Any]]) -> str:
    """What each part of the method brings: a sentence each, and a picture of what it rests on."""
    if not (shown := names(results)):
        return ""
    found = {(part["name"], result["data"]): part["slices"] for result in results for part in result["parts"]}
    return (
        "<h2>What does each part of the method bring?</h2><p>The row with a part beside the same row without it: "
        "recall relative to the latter. A part helps where p is below .05: the corrected test over splits, after "
        "Holm's correction over all comparisons of the data set. With fewer than four fields a group is one field, "
        "drawn uniformly: then all groupings are one and their rows are left out.</p>"
        + table(["part", "what the data say"], [[name, verdict(name, results)] for name in shown], "words")
        + _picture(pictures.parts(found))
    )


def _parts_table(parts: Sequence[dict[str, Any]]) -> str:
    slices = [name for name in SLICES if any(name in part["slices"] for part in parts)]
    lines = [
        [part["name"], *(relative(part["slices"][name]) if name in part["slices"] else "" for name in slices)]
        for part in parts
    ]
    return table(["part", *slices], lines)


def _targeting(tables: Sequence[Table]) -> str:
    if not tables:
        return ""
    parts = []
    for found in tables:
        picture = _picture(pictures.lifts(found.lifts, found.title)) if found.lifts else ""
        parts.append(f"<h3>{html.escape(found.title)}</h3>{picture}{table(found.head, found.rows)}")
    return (
        "<h2>Which listeners to tell about a new song?</h2><p>Rules of targeting on held-out songs: recall and "
        "precision of the listeners found, and a simulated campaign in which each rule has as many listeners per song. "
        "The campaign counts listeners recovered: those of the held-out plays whom a rule names. The count that rules "
        "are compared with allows for neither popularity nor activity; one that does is about half as far behind. "
        "Intervals resample songs; p is that of a permutation test.</p>" + "".join(parts)
    )


def _picture(figure: Figure) -> str:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg")
    data = base64.b64encode(drawn.getvalue()).decode()
    return f'<img alt="{html.escape(str(figure.get_label()))}" src="data:image/svg+xml;base64,{data}">'


def _table(rows: dict[str, Any], task: str, reference: str | None) -> str:
    metrics, main = shown_metrics(rows), main_metric(task)
    head = ["row", *(TITLES[metric] for metric in metrics), f"{TITLES[main]} against {reference}"]
    lines = []
    for name, row in rows.items():
        cells = [f"{row['metrics'][metric]['value']:.3f}" for metric in metrics]
        interval = row["metrics"][main]
        cells[metrics.index(main)] += f" [{interval['low']:.3f}, {interval['high']:.3f}]"
        lines.append([name, *cells, difference_words(row.get("against"))])
    return table(head, lines)


def _slices(slices: dict[str, dict[str, Any]], metric: str) -> str:
    rows = next(iter(slices.values()))
    lines = [[row, *(f"{found[row]['metrics'][metric]['value']:.3f}" for found in slices.values())] for row in rows]
    return table(["row", *slices], lines)


def _examples(examples: Sequence[dict[str, Any]]) -> str:
    cards = "".join(_card(found) for found in examples)
    return (
        "<p>Test songs at fixed percentiles of recall, so that failures show too. The model knew what is written below "
        "a name. Bold matches are among the 20 songs of most similar audience.</p>"
        f'<div class="cards">{cards}</div>'
    )


def _card(found: dict[str, Any]) -> str:
    matches = "".join(
        f"<li{' class=right' if match['right'] else ''}>{html.escape(match['song'])} "
        f"<small>{match['score']:.3f}</small></li>"
        for match in found["matches"]
    )
    return (
        f"<section><h4>{html.escape(found['song'])}</h4><p><small>{html.escape(found['content'])}</small></p>"
        f"<p>{found['listeners']} listeners in truth; recall@50 {found['recall']:.2f}, percentile "
        f"{found['percentile']}.</p><ol>{matches}</ol>"
        f"<p><small>Most similar in truth: {html.escape(', '.join(found['truth']))}</small></p></section>"
    )


def _rows(rows: Sequence[dict[str, Any]]) -> str:
    lines = [[row["name"], row["what"], row["family"], f"{row['seconds']:.0f} s"] for row in rows]
    return table(["row", "what", "part", "time"], lines)
