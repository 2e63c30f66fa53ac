"""New songs: their matches, and the songs that their target listeners play. No page has ids of listeners."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

from tfx_pipeline.contract.text import on_one_line


@dataclass(frozen=True)
class Example:
    """One cold song.

    Attributes:
        song: Its name.
        matches: Name and score of similar songs, best first.
        listeners: Score of each target listener and names of the matches that they play, best first.
        chances: Chance of each match and the bounds of its interval; empty where none were fitted.
    """

    song: str
    matches: list[tuple[str, float]]
    listeners: list[tuple[float, list[str]]]
    chances: Sequence[tuple[float, float, float]] = ()


def new_songs(examples: Sequence[Example], unknown: int, target_scores: str) -> str:
    """Returns the section as HTML.

    Args:
        examples: The songs.
        unknown: Number of songs without known values outside the index.
        target_scores: A sentence on the meaning of a listener's score.
    """
    notes = [
        "A match's score is the inner product of two vectors of length at most one. It lies between -1 and 1, and "
        "larger is more similar. It orders the matches of one song and is not a probability.",
        "A match's chance is how likely it is among the 20 songs of most similar audience, with its 95 % interval."
        if any(example.chances for example in examples)
        else "",
        target_scores and f"{target_scores} Scores of listeners are comparable within one song.",
        f"The model knows no value of {unknown:,} songs: they have no matches and no listeners." if unknown else "",
    ]
    shown = "".join(f"<p>{html.escape(note)}</p>" for note in notes if note)
    return f"{shown}<div class=cards>{''.join(map(card, examples))}</div>"


def card(example: Example) -> str:
    """Returns one song as HTML."""
    chances = [f", chance {chance:.2f} [{low:.2f}, {high:.2f}]" for chance, low, high in example.chances]
    matches = "".join(
        f"<li>{_name(song)} <small>{score:.3f}{chance}</small></li>"
        for (song, score), chance in zip(example.matches, chances or repeat(""), strict=False)
    )
    listeners = "".join(
        f"<li>plays {', '.join(map(_name, reasons))} <small>{score:.3f}</small></li>"
        for score, reasons in example.listeners
    )
    return (
        f"<section><h3>{_name(example.song)}</h3><p>Similar songs</p><ol>{matches}</ol>"
        f"<p>Target listeners</p><ol>{listeners}</ol></section>"
    )


def _name(text: str) -> str:
    """Returns a name whose direction of writing does not change the order of the text around it."""
    return f"<bdi>{html.escape(on_one_line(text))}</bdi>"
