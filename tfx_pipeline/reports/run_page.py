"""The page that a run leaves, from plain values."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from tfx_pipeline.contract.text import on_one_line
from tfx_pipeline.reports.html import document, table

_KINDS = statistics_pb2.FeatureNameStatistics
_TOP_VALUES = 4
_STYLE = """
.matrix td { padding: .15rem .35rem; border: 0; text-align: center }
pre { overflow-x: auto; background: #f5f5f5; padding: .7rem }
.no { color: #a40000 }
.yes { color: #006b2d }
"""


@dataclass(frozen=True)
class Example:
    """One cold song: its matches with scores, its best listeners' scores and the songs they play. No page has ids."""

    song: str
    matches: list[tuple[str, float]]
    listeners: list[tuple[float, list[str]]]


@dataclass(frozen=True)
class Column:
    """One column of a table that came in."""

    name: str
    kind: str
    present: float
    says: str


def columns(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> tuple[int, list[Column]]:
    """Returns the number of rows and the columns, from TFDV's statistics."""
    dataset = statistics.datasets[0]
    found = []
    for feature in dataset.features:
        values = getattr(feature, feature.WhichOneof("stats"))
        present = values.common_stats.num_non_missing / max(dataset.num_examples, 1)
        found.append(Column(feature.path.step[0], _KINDS.Type.Name(feature.type).lower(), present, _says(feature)))
    return int(dataset.num_examples), sorted(found, key=lambda column: column.name)


def _says(feature: statistics_pb2.FeatureNameStatistics) -> str:
    if feature.WhichOneof("stats") == "num_stats":
        numbers = feature.num_stats
        return f"{numbers.min:.3g} to {numbers.max:.3g}, mean {numbers.mean:.3g}, deviation {numbers.std_dev:.3g}"
    words = feature.string_stats
    shown = list(words.top_values)[:_TOP_VALUES]
    top = ", ".join(f"{on_one_line(value.value)} ({value.frequency:.0f})" for value in shown)
    return f"{words.unique:,} different; most often {top}"


def page(
    *,
    songs: tuple[int, list[Column]],
    plays: tuple[int, list[Column]],
    data_report: str,
    learnt: dict[str, Any],
    evaluation: dict[str, Any],
    pushed: str | None,
    examples: Sequence[Example],
    served_badly: str | None = None,
    served: dict[str, Any] | None = None,
    unknown_songs: int = 0,
    target_scores: str = "",
) -> str:
    """Returns the page.

    Args:
        songs: Rows and columns of the songs.
        plays: Rows and columns of the plays.
        data_report: How they differ from the last pushed run's.
        learnt: What the Trainer wrote.
        evaluation: What the evaluator wrote.
        pushed: Folder of the pushed version.
        examples: New songs.
        served_badly: What went wrong when the model was served to be validated.
        served: What was judged and what is served, where that is not the same model.
        unknown_songs: Number of songs that are not warm and of which the model knows no value.
        target_scores: A sentence on what a listener's score is.
    """
    body = [
        "<h1>From plays to listeners: what this run did</h1>",
        _outcome(
            [*evaluation.get("refused_because", ()), *(served or {}).get("refused_because", ())], pushed, served_badly
        ),
        f"<h2>What came in</h2>{_table_of('songs', songs)}{_table_of('plays', plays)}",
        f"<h3>Against the last pushed run</h3><pre>{html.escape(data_report)}</pre>",
        f"<h2>What was learnt</h2>{_learnt(learnt)}",
        f"<h2>How good it is</h2>{_judged(evaluation)}",
        f"<h2>What is served</h2>{_served(served)}" if served else "",
        f"<h2>New songs</h2>{_new_songs(examples, unknown_songs, target_scores)}" if examples or unknown_songs else "",
    ]
    return document("BCL run", "".join(body), _STYLE)


def _outcome(refused_because: Sequence[str], pushed: str | None, served_badly: str | None) -> str:
    if pushed:
        return f"<p class=yes>Blessed and pushed: {html.escape(pushed)}</p>"
    reasons = [*refused_because, *([f"when it was served: {served_badly}"] if served_badly else [])]
    return f"<p class=no>Not pushed:</p><ul class=no>{''.join(f'<li>{html.escape(r)}</li>' for r in reasons)}</ul>"


def _table_of(name: str, counted: tuple[int, list[Column]]) -> str:
    rows, found = counted
    lines = [[column.name, column.kind, f"{100 * column.present:.1f} %", column.says] for column in found]
    return f"<h3>{rows:,} {name}</h3>{table(['column', 'type', 'present', 'values'], lines, 'words')}"


def _learnt(learnt: dict[str, Any]) -> str:
    history = learnt["history"]
    epochs = len(next(iter(history.values()), []))
    lines = [[str(place + 1), *(f"{values[place]:.4f}" for values in history.values())] for place in range(epochs)]
    parts = [table(["epoch", *history], lines)]
    for name, title in (
        ("songs", "Songs learnt from, and those that choices were made on"),
        ("ridge", "Closed form, chosen on validation songs"),
        ("joined", "Joined with the towers, chosen on validation songs"),
        ("settings", "Settings of the towers, as given or as the Tuner found them"),
    ):
        if name in learnt:
            values = _named_parts(learnt[name]) if name == "joined" else learnt[name]
            lines = [[key, _plain(value)] for key, value in values.items()]
            parts.append(f"<h3>{title}</h3>{table(['setting', 'value'], lines, 'words')}")
    if "joined" in learnt:
        parts.append(_without_towers(learnt["joined"]["weights"]))
    if "correlation" in learnt:
        parts.append(f"<h3>Correlation of the fields</h3>{_matrix(learnt['fields'], learnt['correlation'])}")
    return "".join(parts)


#: In the order in which `JoinedModel` has them.
_PARTS = ("closed form", "towers")


def _named_parts(joined: dict[str, Any]) -> dict[str, Any]:
    """What was chosen for the joined model, with the names of its parts."""
    return {
        name: dict(zip(_PARTS, value, strict=True)) if name in ("weights", "alone") and value else value
        for name, value in joined.items()
    }


def _without_towers(weights: Sequence[float]) -> str:
    if weights[1]:
        return ""
    return (
        "<p>The towers have weight 0: the closed form serves alone. On validation songs no weight of the towers found "
        "more of the songs that share an audience.</p>"
    )


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _matrix(names: Sequence[str], matrix: Sequence[Sequence[float]]) -> str:
    rows = []
    for name, values in zip(names, matrix, strict=True):
        cells = "".join(
            f'<td style="background: rgba(8, 48, 107, {value:.2f}); color: {"white" if value > 0.5 else "black"}">'
            f"{value:.2f}</td>"
            for value in values
        )
        rows.append(f"<tr><th>{html.escape(name)}</th>{cells}</tr>")
    return f"<div class=wide><table class=matrix>{''.join(rows)}</table></div>"


def _judged(evaluation: dict[str, Any]) -> str:
    parts = []
    for split, name in (("test", "Test songs"), ("val", "Validation songs, by which it is blessed")):
        if split not in evaluation:
            continue
        report = evaluation[split]
        metrics = list(next(iter(report["rows"].values())))
        lines = [[row, *(_estimate(values[metric]) for metric in metrics)] for row, values in report["rows"].items()]
        sizes = f"{report['songs']:,} cold songs, {report['candidates']:,} candidates; 95 % intervals."
        parts.append(f"<h3>{name}</h3><p>{sizes}</p>{table(['row', *metrics], lines)}")
        if report["slices"]:
            rows = list(report["rows"])
            lines = [[row, *(_estimate(of_rows[row]) for of_rows in report["slices"].values())] for row in rows]
            parts.append(table(["recall of slices", *report["slices"]], lines))
    return "".join(parts) + _reliability(evaluation.get("reliability", {}))


def _reliability(report: dict[str, Any]) -> str:
    """How well the reliability of matches orders test songs by their recall."""
    if "fitted" not in report:
        return ""
    title = "<h3>How far matches can be relied on</h3>"
    if report["fitted"] is None:
        return f"{title}<p>Nothing is said: {report['validation_songs']:,} validation songs are too few.</p>"
    found, k = report["test"], report["fitted"]["k"]
    said = (
        f"The reliability of a song's matches is the recall@{k} to expect of them, fitted on "
        f"{report['validation_songs']:,} validation songs. Spearman's rho with the recall of {found['songs']:,} test "
    )
    if found["rho"] is None:
        return f"{title}<p>{said}songs: none, as all have the same recall or the same reliability.</p>"
    best = "" if found["rho_of_best_score"] is None else f"; of the best score alone {found['rho_of_best_score']:.3f}"
    rho = f"songs: {found['rho']:.3f} [{found['low']:.3f}, {found['high']:.3f}]{best}."
    lines = [[f"{p['songs']:,}", f"{p['reliability']:.3f}", f"{p['recall']:.3f}"] for p in found["fifths"]]
    return f"{title}<p>{said}{rho}</p>{table(['test songs', 'reliability', f'recall@{k}'], lines)}"


_MADE = {
    "train": "It is fitted again on all songs with the settings that the judged model chose. Nothing is held out from "
    "it, so its recall cannot be measured: that of the judged model stands for it, and both agree as below.",
    "index": "It is the judged model. The songs held out are in its index by their content; it has learnt nothing from "
    "their plays.",
}


def _served(served: dict[str, Any]) -> str:
    judged, overlap = served["judged"], served["overlap"]
    held_out = ", ".join(f"{count:,} {split}" for split, count in judged["held_out"].items())
    lines = [
        ["Songs in the index of the judged model", f"{judged['songs_in_index']:,}"],
        ["Songs held out from it", held_out],
        *(
            [f"Judged model on {split} songs", ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())]
            for split, means in judged["measured"].items()
        ),
        ["Songs in the index of the served model", f"{served['served']['songs_in_index']:,}"],
    ]
    if overlap:
        parts = ", ".join(f"{split} {mean:.3f}" for split, mean in overlap["by_split"].items())
        lines += [
            [f"First {overlap['k']} matches that both have", f"{overlap['mean']:.3f} of {overlap['songs']:,} songs"],
            ["The same by split", parts],
            ["At least", f"{overlap['least']:.3f} (by chance {overlap['by_chance']:.3f})"],
        ]
    return f"<p>{_MADE[served['refit']]}</p>{table(['', ''], lines, 'words')}"


def _estimate(found: dict[str, float]) -> str:
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _new_songs(examples: Sequence[Example], unknown: int, target_scores: str) -> str:
    says = [
        "A match's score is the inner product of two vectors that are at most of length one: from -1 to 1, larger is "
        "more similar. It orders the matches of one song, and is no probability.",
        target_scores and f"{target_scores} Scores of listeners are comparable within one song.",
        f"Of {unknown:,} songs the model knows no value: they have no matches and no listeners." if unknown else "",
    ]
    said = "".join(f"<p>{html.escape(line)}</p>" for line in says if line)
    return f"{said}<div class=cards>{''.join(map(_card, examples))}</div>"


def _name(text: str) -> str:
    """Isolated, so that a name from right to left leaves what follows it in place."""
    return f"<bdi>{html.escape(on_one_line(text))}</bdi>"


def _card(example: Example) -> str:
    matches = "".join(f"<li>{_name(song)} <small>{score:.3f}</small></li>" for song, score in example.matches)
    listeners = "".join(
        f"<li>plays {', '.join(map(_name, reasons))} <small>{score:.3f}</small></li>"
        for score, reasons in example.listeners
    )
    return (
        f"<section><h3>{_name(example.song)}</h3><p>Similar songs</p><ol>{matches}</ol>"
        f"<p>Target listeners</p><ol>{listeners}</ol></section>"
    )
