"""How good the matches are: metrics by split, recall of slices, reliability of songs, and chances of matches."""

from __future__ import annotations

from typing import Any

from tfx_pipeline.reports.html import table

_SPLITS = {"test": "Test songs", "val": "Validation songs, which decide on the blessing"}


def quality(evaluation: dict[str, Any]) -> str:
    """Returns the section as HTML.

    Args:
        evaluation: The evaluator's report.
    """
    parts = [_metrics(title, evaluation[split]) for split, title in _SPLITS.items() if split in evaluation]
    return "".join(parts) + _reliability(evaluation.get("reliability", {})) + _chances(evaluation.get("chances"))


def _metrics(title: str, report: dict[str, Any]) -> str:
    metrics = list(next(iter(report["rows"].values())))
    lines = [[row, *(_interval(values[metric]) for metric in metrics)] for row, values in report["rows"].items()]
    sizes = f"{report['songs']:,} cold songs, {report['candidates']:,} candidates; 95 % intervals."
    shown = f"<h3>{title}</h3><p>{sizes}</p>{table(['row', *metrics], lines)}"
    if report["slices"]:
        lines = [[row, *(_interval(rows[row]) for rows in report["slices"].values())] for row in report["rows"]]
        shown += table(["recall of slices", *report["slices"]], lines)
    return shown


def _interval(estimate: dict[str, float]) -> str:
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _reliability(report: dict[str, Any]) -> str:
    """Returns how well the reliability of matches orders test songs by their recall."""
    if "fitted" not in report:
        return ""
    title = "<h3>Reliability of matches</h3>"
    if report["fitted"] is None:
        return f"{title}<p>Not estimated: {report['validation_songs']:,} validation songs are too few.</p>"
    found, k = report["test"], report["fitted"]["k"]
    meaning = (
        f"The reliability of a song's matches is the recall@{k} to expect of them, fitted on "
        f"{report['validation_songs']:,} validation songs."
    )
    rho = f"Spearman's rho with the recall of {found['songs']:,} test songs: {_rho(found)}."
    lines = [[f"{p['songs']:,}", f"{p['reliability']:.3f}", f"{p['recall']:.3f}"] for p in found["fifths"]]
    fifths = "" if found["rho"] is None else table(["test songs", "reliability", f"recall@{k}"], lines)
    return f"{title}<p>{meaning} {rho}</p>{fifths}"


def _chances(report: dict[str, Any] | None) -> str:
    """Returns whether the chances of matches come true on test songs."""
    if report is None:
        return ""
    title, found = "<h3>Chances of matches</h3>", report["test"]
    if found is None:
        needed = f"They need {report['needed']} validation songs that share listeners with warm ones, and test songs"
        return f"{title}<p>None. {needed}; there are {report['validation_songs']:,}. So the columns are null.</p>"
    meaning = (
        "The chance of a match is how likely it is among the 20 songs of most similar audience, fitted on validation "
        f"songs. Here it is compared with the matches of {found['songs']:,} test songs that are right. The calibration "
        "error is the mean difference over 15 groups of matches of like chance."
    )
    lines = [
        [f"{of['matches']}", *(f"{of[name]:.3f}" for name in ("calibration_error", "chance", "right"))]
        for of in found["first"]
    ]
    return f"{title}<p>{meaning}</p>{table(['first matches', 'calibration error', 'mean chance', 'right'], lines)}"


def _rho(found: dict[str, Any]) -> str:
    if found["rho"] is None:
        return "none, as all have the same recall or the same reliability"
    best = "" if found["rho_of_best_score"] is None else f"; of the best score alone {found['rho_of_best_score']:.3f}"
    return f"{found['rho']:.3f} [{found['low']:.3f}, {found['high']:.3f}]{best}"
