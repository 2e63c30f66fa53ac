"""The page of a run: its outcome, then one section after the other."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from tfx_pipeline.reports.engine import Engine, where_it_ran
from tfx_pipeline.reports.html import document
from tfx_pipeline.reports.run_page.input_tables import Column, input_tables
from tfx_pipeline.reports.run_page.new_songs import Example, new_songs
from tfx_pipeline.reports.run_page.quality import quality
from tfx_pipeline.reports.run_page.served_model import served_model
from tfx_pipeline.reports.run_page.training import training

_STYLE = """
.matrix td { padding: .15rem .35rem; border: 0; text-align: center }
pre { overflow-x: auto; background: #f5f5f5; padding: .7rem }
.no { color: #a40000 }
.yes { color: #006b2d }
"""


def page(
    *,
    songs: tuple[int, list[Column]],
    plays: tuple[int, list[Column]],
    data_report: str,
    learnt: dict[str, Any],
    evaluation: dict[str, Any],
    pushed: str | None,
    examples: Sequence[Example],
    serving_problem: str | None = None,
    served: dict[str, Any] | None = None,
    unknown_songs: int = 0,
    target_scores: str = "",
    engine: Engine | None = None,
) -> str:
    """Returns the page as HTML.

    Args:
        songs: Number of rows and columns of the songs.
        plays: Number of rows and columns of the plays.
        data_report: Differences from the data of the last pushed run.
        learnt: The Trainer's report.
        evaluation: The evaluator's report.
        pushed: Folder of the pushed version; None where no model was pushed.
        examples: New songs with their matches and listeners.
        serving_problem: Why the validation on a server failed; None where it passed.
        served: Report on the served model, where it is not the judged one.
        unknown_songs: Number of songs without known values outside the index.
        target_scores: A sentence on the meaning of a listener's score.
        engine: Which steps an engine of Beam ran; None where all ran in one process.
    """
    refused_because = [*evaluation.get("refused_because", ()), *(served or {}).get("refused_because", ())]
    if serving_problem:
        refused_because.append(f"when it was served: {serving_problem}")
    body = [
        "<h1>From plays to listeners: what this run did</h1>",
        _outcome(pushed, refused_because),
        f"<h2>What came in</h2>{input_tables(songs, plays)}",
        f"<h3>Against the last pushed run</h3><pre>{html.escape(data_report)}</pre>",
        f"<h2>What was learnt</h2>{training(learnt)}",
        f"<h2>How good it is</h2>{quality(evaluation)}",
        f"<h2>What is served</h2>{served_model(served)}" if served else "",
        f"<h2>New songs</h2>{new_songs(examples, unknown_songs, target_scores)}" if examples or unknown_songs else "",
        f"<h2>Where it ran</h2>{where_it_ran(engine)}" if engine else "",
    ]
    return document("BCL run", "".join(body), _STYLE)


def _outcome(pushed: str | None, refused_because: Sequence[str]) -> str:
    if pushed:
        return f"<p class=yes>Blessed and pushed: {html.escape(pushed)}</p>"
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in refused_because)
    return f"<p class=no>Not pushed:</p><ul class=no>{reasons}</ul>"
