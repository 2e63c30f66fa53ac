"""Suggests which column is which, and says of what it is not sure.

1. Ids of songs: the pair of one column of songs and one of plays whose values agree most. Names decide between equals.
2. Listeners: the other column of plays with a name such as `listener` or `account`; else the one whose values repeat.
3. The other columns of plays: by a name that says it and a type that fits; times also by their type alone.
4. Columns of songs that could be fields: their kind says whether they are `attribute` or `audio`, as the notes of the
   contract do. A column that tells songs apart, as a title does, or speaks of plays is left for display.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tfx_pipeline.contract.column_names import ColumnNames, Names
from tfx_pipeline.contract.column_notes.unused import find_unused
from tfx_pipeline.contract.fields import is_feature, words_of
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.inputs import open_as_given
from tfx_pipeline.contract.source import Source
from tfx_pipeline.contract.stores.location import Location, locate
from tfx_pipeline.contract.suggestion.samples import Sample, agreement, sample_of
from tfx_pipeline.contract.text import on_one_line

_SONGS = frozenset(["song", "songs", "track", "tracks", "item", "isrc", "recording", "mbid"])
_USERS = frozenset(["user", "users", "listener", "account", "customer", "member", "profile", "uid", "subscriber"])
_COUNTS = frozenset(["plays", "count", "playcount", "listens", "streams", "times", "scrobbles", "n"])
_LIKES = frozenset(["liked", "like", "favorite", "favourite", "loved", "love", "thumb", "starred"])
_TIMES = frozenset(["timestamp", "time", "date", "datetime", "at", "ts", "when", "played", "listened"])
_SOUND = frozenset(
    [
        *("acousticness", "audio", "bpm", "danceability", "duration", "energy", "embedding", "instrumentalness", "key"),
        *("length", "liveness", "loudness", "mfcc", "mode", "signature", "speechiness", "tempo", "timbre", "valence"),
    ]
)
_ENOUGH = 0.5
_ALIKE = 0.05


@dataclass(frozen=True)
class Suggestion:
    """What the columns of a folder may be.

    Attributes:
        columns: The mapping.
        doubts: Of what it is not sure, in sentences.
    """

    columns: ColumnNames
    doubts: tuple[str, ...]

    def as_settings(self) -> str:
        """Returns a settings file."""
        return json.dumps({"columns": asdict(self.columns)}, ensure_ascii=False, indent=1) + "\n"


def suggest(folder: Location | str) -> Suggestion:
    """Returns what the columns of an input folder may be. It reads the songs, and the first plays.

    Raises:
        ContractError: The folder or one of its tables is missing or cannot be read.
    """
    doubts: list[str] = []
    with open_as_given(locate(folder)) as (songs, plays):
        of_songs, of_plays = sample_of(songs), sample_of(plays)
        song, played = _song_ids(of_songs, of_plays, doubts)
        in_plays = _plays(of_plays, played, doubts)
        ids = {song: SONG_ID} if song is not None and song != SONG_ID else {}
        in_songs = ids | _fields(songs, ids, doubts)
    return Suggestion(ColumnNames(in_songs, in_plays), tuple(doubts))


def _song_ids(
    songs: Mapping[str, Sample], plays: Mapping[str, Sample], doubts: list[str]
) -> tuple[str | None, str | None]:
    """Returns the columns with the ids of songs, in songs and in plays."""
    in_songs = [SONG_ID] if SONG_ID in songs else [n for n, s in songs.items() if s.may_be_ids and s.is_distinct]
    in_plays = [SONG_ID] if SONG_ID in plays else [n for n, s in plays.items() if s.may_be_ids and n != USER_ID]
    pairs = [
        (agreement(plays[p], songs[s]), _named(s, _SONGS) + _named(p, _SONGS), s, p) for s in in_songs for p in in_plays
    ]
    if not pairs:
        doubts.append("no column of songs has distinct ids that a column of plays could have; map `song_id` by hand.")
        return None, None
    share, named, song, played = max(pairs, key=lambda pair: (round(pair[0], 1), pair[1]))
    if share < _ENOUGH and not named:
        doubts.append("no column of plays holds the ids of a column of songs; map `song_id` by hand.")
        return None, None
    if share < _ENOUGH:
        doubts.append(
            f"{_shown(song)} of songs and {_shown(played)} of plays are song_id by their names, but only {share:.0%} "
            "of the first plays name a song that is there."
        )
    equal = [s for other, _, s, p in pairs if p == played and s != song and abs(other - share) < _ALIKE]
    if equal and share >= _ENOUGH:
        doubts.append(f"{_shown(song)} of songs is song_id; {_shown(equal[0])} has the same values.")
    for table, name, sample in (("songs", song, songs[song]), ("plays", played, plays[played])):
        if not sample.is_text:
            doubts.append(f"{_shown(name)} of {table} holds whole numbers. Write the ids as strings.")
    return song, played


def _plays(plays: Mapping[str, Sample], played: str | None, doubts: list[str]) -> dict[str, str]:
    mapped = {played: SONG_ID} if played is not None and played != SONG_ID else {}
    left = {name: sample for name, sample in plays.items() if name not in (played, SONG_ID)}
    if USER_ID not in left and (user := _listeners(left, doubts)) is not None:
        mapped[user] = USER_ID
    tests = {"plays": (_COUNTS, "is_count"), "liked": (_LIKES, "is_flag"), "timestamp": (_TIMES, "is_time")}
    for ours, (words, test) in tests.items():
        if ours in plays:
            continue
        fitting = [n for n, s in left.items() if n not in mapped and n not in (USER_ID, *tests) and getattr(s, test)]
        named = [name for name in fitting if words & set(words_of(name))]
        by_type = [name for name in fitting if ours == "timestamp" and left[name].is_moment]
        found = [*(name for name in by_type if name in named), *by_type, *named]
        if found:
            mapped[found[0]] = ours
        if len(set(found)) > 1:
            others = ", ".join(_shown(name) for name in dict.fromkeys(found[1:]) if name != found[0])
            doubts.append(f"{_shown(found[0])} of plays is {ours}; so could be {others}.")
    return mapped


def _listeners(plays: Mapping[str, Sample], doubts: list[str]) -> str | None:
    may_be = [name for name, sample in plays.items() if sample.may_be_ids]
    named = [name for name in may_be if _USERS & set(words_of(name))]
    if named:
        if len(named) > 1:
            doubts.append(f"{_shown(named[0])} of plays is user_id; so could be {', '.join(map(_shown, named[1:]))}.")
        found = named[0]
    else:
        texts = [name for name in may_be if plays[name].is_text and not plays[name].is_moment]
        repeating = [name for name in texts if not plays[name].is_distinct] or texts
        if not repeating:
            doubts.append("no column of plays looks like listeners; map `user_id` by hand.")
            return None
        found = max(repeating, key=lambda name: plays[name].distinct)
        doubts.append(f"{_shown(found)} of plays is user_id by its values alone; its name does not say so.")
    if not plays[found].is_text:
        doubts.append(f"{_shown(found)} of plays holds whole numbers. Write the ids as strings.")
    return found


def _fields(songs: Source, ids: dict[str, str], doubts: list[str]) -> dict[str, str]:
    """Returns the columns of songs that could be fields, with the names of the fields."""
    found = find_unused(Source(songs.parts, songs.shown, names=Names(ids, "columns.songs")))
    mapped = {column.name: name for name, column in found.items()}
    guessed = [n for n, to in mapped.items() if to.startswith("audio_") and not _SOUND & set(words_of(n))]
    if guessed:
        doubts.append(
            f"{', '.join(map(_shown, guessed))}: audio, because of the type; attribute or lyric may be right."
        )
    left = [n for n in songs.names if n not in (SONG_ID, *ids, *mapped) and not is_feature(n)]
    if left:
        doubts.append(f"{', '.join(map(_shown, left))}: for display only. Map what describes a song.")
    return mapped


def _named(name: str, words: frozenset[str]) -> int:
    """Returns how well a name fits: 2 where it names ids of such things, 1 for the things or for ids alone."""
    own = set(words_of(name))
    return bool(own & words) + bool(own & {"id", "ids", "uri", "key", "isrc", "mbid"})


def _shown(name: str) -> str:
    return f"`{on_one_line(name)}`"
