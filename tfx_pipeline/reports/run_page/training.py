"""What the model learned: losses, chosen settings, weights of its parts and the correlation of the fields."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from tfx_pipeline.reports.html import table
from tfx_pipeline.reports.run_page.losses_table import losses_table

_SETTINGS = {
    "songs": "Songs used for training, and songs used for choices",
    "ridge": "Closed form, chosen on validation songs",
    "joined": "Joined with towers and plain content, chosen on validation songs",
    "settings": "Settings of the towers, as given or as the Tuner found them",
}
#: In the order of `JoinedModel`.
_PARTS = ("closed form", "towers", "plain content")


def training(learnt: dict[str, Any]) -> str:
    """Returns the section as HTML.

    Args:
        learnt: The Trainer's report.
    """
    parts = [losses_table(learnt["history"])]
    for name, title in _SETTINGS.items():
        if name in learnt:
            values = _with_names_of_parts(learnt[name]) if name == "joined" else learnt[name]
            lines = [[key, _in_words(value)] for key, value in values.items()]
            parts.append(f"<h3>{title}</h3>{table(['setting', 'value'], lines, 'words')}")
    if "joined" in learnt:
        parts.append(_note_on_weights(learnt["joined"]["weights"]))
    if "correlation" in learnt:
        parts.append(f"<h3>Correlation of the fields</h3>{_matrix(learnt['fields'], learnt['correlation'])}")
    return "".join(parts)


def _with_names_of_parts(joined: dict[str, Any]) -> dict[str, Any]:
    return {
        name: dict(zip(_PARTS, value, strict=False)) if name in ("weights", "alone") and value else value
        for name, value in joined.items()
    }


def _note_on_weights(weights: Sequence[float]) -> str:
    if weights[1]:
        return ""
    rest = "the closed form and plain content serve" if any(weights[2:]) else "the closed form serves alone"
    return (
        f"<p>The towers have weight 0: {rest}. On validation songs no weight of the towers found "
        "more of the songs that share an audience.</p>"
    )


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_in_words(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_in_words, value))
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
