"""Invented words for genres, tags, titles and artists, so that a printed catalogue reads well."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

GENRES = (
    "rock",
    "indie",
    "electronic",
    "jazz",
    "folk",
    "metal",
    "hip hop",
    "soul",
    "classical",
    "ambient",
    "pop",
    "punk",
)
LANGUAGES = ("english", "spanish", "french", "german", "japanese", "portuguese", "korean", "swedish")
MOODS = (
    *("calm", "dark", "dreamy", "bright", "angry", "tender", "wistful", "playful", "tense", "warm", "cold", "proud"),
    *("lonely", "hopeful", "restless", "solemn", "sleepy", "wild", "gentle", "bitter", "sunny", "grand", "raw", "sly"),
)
TOPICS = (
    *("love", "night", "city", "road", "sea", "war", "home", "money", "youth", "loss", "summer", "winter", "faith"),
    *("work", "dance", "dreams", "family", "freedom", "rain", "stars", "memory", "lies", "travel", "morning"),
)
_COLOURS = (
    *("Amber", "Silver", "Quiet", "Broken", "Golden", "Paper", "Hollow", "Velvet", "Distant", "Crimson", "Little"),
    *("Second", "Northern", "Slow", "Electric", "Wooden", "Borrowed", "Glass", "Early", "Blue", "Restless", "Last"),
)
_THINGS = (
    *("River", "Window", "Harbour", "Lantern", "Mirror", "Garden", "Engine", "Letter", "Winter", "Parade", "Signal"),
    *("Shadow", "Station", "Orchard", "Thunder", "Kingdom", "Ladder", "Sparrow", "Compass", "Avenue", "Ember", "Tide"),
)
_STYLES = ("acoustic", "lo-fi", "modern", "vintage", "minimal", "heavy", "melodic", "live", "deep", "urban")
_FORMS = ("ballads", "grooves", "anthems", "soundscapes", "stories", "riffs", "beats", "harmonies")
_FIRST = (
    *("Mara", "Ilo", "Tessa", "Juno", "Pavel", "Nia", "Oskar", "Lena", "Rui", "Edda", "Kofi", "Sana", "Milo", "Vera"),
    *("Anouk", "Bram", "Calla", "Dario", "Esme", "Farid", "Greta", "Hugo"),
)
_LAST = (
    *("Vance", "Okonjo", "Larsen", "Moreau", "Castel", "Hale", "Ito", "Brandt", "Quill", "Serrano", "Voss", "Winter"),
    *("Adair", "Bell", "Corso", "Duarte", "Ekman", "Falk", "Gray", "Holm", "Ibarra", "Jansen"),
)


_LISTS: dict[str, tuple[str, ...]] = {
    "genre": GENRES,
    "language": LANGUAGES,
    "mood": MOODS,
    "topic": TOPICS,
    "tag": tuple(f"{style} {form}" for form in _FORMS for style in _STYLES),
    "label": tuple(
        f"{colour} {_THINGS[(place + shift) % len(_THINGS)]} Records"
        for shift in range(3)
        for place, colour in enumerate(_COLOURS)
    ),
}


def vocabulary(name: str, size: int) -> list[str]:
    """Returns `size` distinct words for a category field; the field's own word list first, then numbered ones."""
    known = _LISTS.get(name, ())
    return [*known, *(f"{name} {index}" for index in range(len(known) + 1, size + 1))][:size]


def titles(generator: np.random.Generator, count: int) -> list[str]:
    """Returns display titles; two songs may share one, as in life."""
    colour, thing, form = (generator.integers(size, size=count) for size in (len(_COLOURS), len(_THINGS), 4))
    forms = ("{0} {1}", "The {0} {1}", "{1} in {0}", "{0} {1}s")
    return [forms[f].format(_COLOURS[c], _THINGS[t]) for c, t, f in zip(colour, thing, form, strict=True)]


def artists(generator: np.random.Generator, cluster: npt.NDArray[Any], per_cluster: int) -> list[str]:
    """Returns an artist for each song: each cluster of taste has `per_cluster` artists of its own."""
    chosen = cluster * per_cluster + generator.integers(per_cluster, size=len(cluster))
    return [_artist(int(index)) for index in chosen]


def _artist(index: int) -> str:
    people = len(_FIRST) * len(_LAST)
    round_, place = divmod(index, 2 * people)
    # 13 has no factor in common with either list, so the names walk over all pairs.
    walk = place * 13 % people
    name = f"{_FIRST[walk % len(_FIRST)]} {_LAST[walk // len(_FIRST)]}"
    if place >= people:
        name = f"The {_COLOURS[walk % len(_COLOURS)]} {_THINGS[walk // len(_COLOURS)]}s"
    return name if not round_ else f"{name} {round_ + 1}"
