"""Column names of the user's own: a setting maps them to the contract's names, and all reading of tables sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tfx_pipeline.contract.fields import GROUPS, check_not_plays, is_feature
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.text import on_one_line
from tfx_pipeline.runtime.settings_codec import with_changes
from tfx_pipeline.runtime.settings_file import read_object

#: What plays may have.
PLAY_COLUMNS = (USER_ID, SONG_ID, "plays", "liked", "timestamp")
_MAY_BE_A_FIELD = re.compile(r"[A-Za-z0-9_]+")
_OTHER = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Names:
    """How the columns of one table are called by its user, and in the contract.

    Attributes:
        mapped: The contract's name of each column that has another one in the table.
        setting: The setting that says so, for messages.
    """

    mapped: Mapping[str, str] = field(default_factory=dict)
    setting: str = "columns"

    @cached_property
    def _own(self) -> dict[str, str]:
        return {ours: own for own, ours in self.mapped.items()}

    def ours(self, own: str) -> str:
        """Returns the contract's name of a column of the table."""
        return self.mapped.get(own, own)

    def own(self, ours: str) -> str:
        """Returns the table's name of a column of the contract."""
        return self._own.get(ours, ours)

    def owns(self, ours: Iterable[str]) -> list[str]:
        """Returns the table's names of columns of the contract."""
        return [self.own(name) for name in ours]


#: A table in the contract's own words.
PLAIN = Names()


@dataclass(frozen=True)
class ColumnNames:
    """The columns of the input that have names of the user's own.

    Each section maps a column's name to the contract's. A column that it does not name keeps its name.

    Attributes:
        songs: Columns of songs. A group alone (`attribute`, `audio` or `lyric`) becomes a prefix of the column's name:
            `{"track_id": "song_id", "genre": "attribute", "bpm": "audio_tempo"}`.
        plays: Columns of plays, of exclusions and of lists of ids:
            `{"listener": "user_id", "track_id": "song_id", "at": "timestamp"}`.
    """

    songs: dict[str, str] = field(default_factory=dict)
    plays: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for section in ("songs", "plays"):
            mapped: dict[str, str] = {}
            for own, given in getattr(self, section).items():
                place = f"`columns.{section}`, column `{on_one_line(own)}`"
                ours = _resolved(own, given, place) if section == "songs" else _of_plays(given, place)
                if ours in mapped.values():
                    other = next(name for name, taken in mapped.items() if taken == ours)
                    raise ValueError(
                        f"{place}: expected a name that no other column has. Received: `{ours}`, which "
                        f"`{on_one_line(other)}` has. Give one of them another name."
                    )
                mapped[own] = ours
            object.__setattr__(self, section, mapped)

    @classmethod
    def read(cls, settings: Path | None) -> ColumnNames:
        """Returns what a file of settings says of column names; no names where there is no file.

        Raises:
            SettingsError: The file is no JSON object, or its section `columns` cannot be used.
        """
        if settings is None:
            return NO_NAMES
        given = {name: section for name, section in read_object(settings).items() if name == "columns"}
        return with_changes(_Section(), given, str(settings)).columns

    def of(self, table: str) -> Names:
        """Returns the names of a table, `songs` or `plays`."""
        return Names(dict(getattr(self, table)), f"columns.{table}")


@dataclass(frozen=True)
class _Section:
    """The part of the settings that is read here."""

    columns: ColumnNames = field(default_factory=ColumnNames)


#: No column has a name of its own.
NO_NAMES = ColumnNames()


def _resolved(own: str, given: str, place: str) -> str:
    """Returns the contract's name of a column of songs, with the prefix of its group before it."""
    if given in GROUPS:
        rest = _OTHER.sub("_", own).strip("_")
        if not rest:
            raise ValueError(
                f"{place}: expected a full name such as `{given}_genre`, because this one has no letter from a to z. "
                f"Received: `{given}`."
            )
        given = f"{given}_{rest}"
    if not given or "\0" in given:
        raise ValueError(f"{place}: expected a name. Received: {given!r}.")
    if is_feature(given):
        if not _MAY_BE_A_FIELD.fullmatch(given):
            raise ValueError(
                f"{place}: expected letters, digits and underscores, because a field names an input of the served "
                f"model. Received: {given!r}."
            )
        check_not_plays(own, place)
    return given


def _of_plays(given: str, place: str) -> str:
    if given not in PLAY_COLUMNS:
        raise ValueError(f"{place}: expected one of {', '.join(PLAY_COLUMNS)}. Received: {given!r}.")
    return given
