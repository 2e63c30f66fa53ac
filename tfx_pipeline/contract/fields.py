"""Song fields: what the name and the Arrow type of a column say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

import pyarrow as pa

from tfx_pipeline.contract.arrow_types import stated_length
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.kinds import ARROW_KINDS, ArrowKind, FieldKind, kind_of

Group = Literal["attribute", "audio", "lyric"]

GROUPS: tuple[str, ...] = get_args(Group)
_FIELD_NAME = re.compile(r"[A-Za-z0-9_]+")
# A column made from plays would tell the model of a cold song what nobody can know about it yet.
_PLAYS_WORDS = frozenset(
    [
        "popularity",
        "popular",
        "plays",
        "playcount",
        "playcounts",
        "listens",
        "listeners",
        "streams",
        "scrobbles",
        "likes",
        "followers",
        "favorites",
        "favourites",
        "views",
        "chart",
        "charts",
    ]
)
_COUNTED = frozenset(
    ["play", "listen", "listener", "stream", "like", "follower", "favorite", "favourite", "view", "scrobble", "user"]
)
_COUNTS = frozenset(["count", "counts", "num", "number", "total"])


@dataclass(frozen=True)
class SongField:
    """One content feature of songs.

    Attributes:
        name: Name of the column, `attribute_*`, `audio_*` or `lyric_*`.
        kind: Name of its kind, as `tfx_pipeline.contract.kinds` has them.
        length: Number of elements of a vector; 1 for the other kinds.
    """

    name: str
    kind: FieldKind
    length: int = 1

    def __post_init__(self) -> None:
        if not is_feature(self.name):
            raise ValueError(f"`name` must start with one of {GROUPS} and an underscore. Received: {self.name!r}.")
        if self.kind not in ARROW_KINDS:
            raise ValueError(f"`kind` must be one of {tuple(ARROW_KINDS)}. Received: {self.kind!r}.")
        if self.length < 1 or (self.length != 1 and not self.is_sized):
            sized = " or ".join(repr(name) for name, kind in ARROW_KINDS.items() if kind.is_sized)
            raise ValueError(f"`length` must be at least 1, and 1 unless `kind` is {sized}. Received: {self.length}.")

    @property
    def group(self) -> Group:
        """The group of fields that the name's prefix says."""
        return cast("Group", self.name.split("_", 1)[0])

    @property
    def arrow(self) -> ArrowKind:
        """What Arrow needs to know of the field's kind."""
        return ARROW_KINDS[self.kind]

    @property
    def is_categorical(self) -> bool:
        """Whether values are words, for which Transform makes a vocabulary. Else they are numbers."""
        return self.arrow.is_categorical

    @property
    def is_list(self) -> bool:
        """Whether one song has a list of values."""
        return self.arrow.is_list

    @property
    def is_sized(self) -> bool:
        """Whether every value has `length` elements."""
        return self.arrow.is_sized


def is_feature(column: str) -> bool:
    """Returns whether the name makes a column a feature. Every other column is carried for display."""
    prefix, _, rest = column.partition("_")
    return prefix in GROUPS and bool(rest)


def fields_of(
    schema: pa.Schema,
    *,
    lengths: Mapping[str, int] | None = None,
    file: object = "songs.parquet",
    own: Callable[[str], str] = str,
) -> tuple[SongField, ...]:
    """Returns the song fields of an Arrow schema, in the schema's order; columns of Arrow type null are left out.

    Args:
        schema: The schema of songs.parquet.
        lengths: Number of elements by list<float> column. Defaults to the length that its type states, else 1.
        file: The file to name in errors.
        own: Returns the name of a column in the file, to name in errors.

    Raises:
        ContractError: A feature column has an unsupported type, an unusable name, or a name that speaks of plays.
    """
    known = dict(lengths or {})
    fields = []
    for column in schema:
        if not is_feature(column.name):
            continue
        _check_name(column.name, file, own(column.name))
        kind = kind_of(column.type, own(column.name), file)
        if kind is not None:
            stated = max(stated_length(column.type), 1)
            length = known.get(column.name, stated) if ARROW_KINDS[kind].is_sized else 1
            fields.append(SongField(column.name, kind, length))
    return tuple(fields)


def speaks_of_plays(words: Iterable[str]) -> bool:
    """Returns whether the words of a column's name suggest that it is made from plays."""
    joined = set(words)
    return bool(joined & _PLAYS_WORDS or (joined & _COUNTED and joined & _COUNTS))


def words_of(name: str) -> list[str]:
    """Returns the words of a column's name, in small letters."""
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())


def check_not_plays(name: str, place: str) -> None:
    """Raises ValueError if the name of a column suggests that it is made from plays, whatever field it is to be."""
    if speaks_of_plays(words_of(name)):
        raise ValueError(f"{place}: expected {_NOT_OF_PLAYS}. Received: this name. {_NOT_OF_PLAYS_REMEDY}")


_NOT_OF_PLAYS = "no feature made from plays: popularity must not reach the model, because a new song has none"
_NOT_OF_PLAYS_REMEDY = "Drop the column or carry it without the prefix; if it is not made from plays, rename it."


def _check_name(name: str, file: object, own: str) -> None:
    if not _FIELD_NAME.fullmatch(name):
        raise broken(
            file, "a name of letters, digits and underscores (it names an input of the served model)", repr(name)
        )
    words = name.lower().split("_")[1:]
    if speaks_of_plays(words):
        raise broken(
            file,
            _NOT_OF_PLAYS,
            f"a name with `{'_'.join(words)}`",
            column=own,
            remedy=_NOT_OF_PLAYS_REMEDY,
        )
