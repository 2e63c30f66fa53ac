"""Song fields: what a column's name and Arrow type say about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import pyarrow as pa

from tfx_pipeline.contract.errors import broken

Kind = Literal["category", "multi_category", "number", "vector"]
Group = Literal["attribute", "audio", "lyric"]

GROUPS: tuple[str, ...] = get_args(Group)
_FIELD_NAME = re.compile(r"[A-Za-z0-9_]+")
# A column made from plays would tell the model of a cold song what nobody can know about it yet.
_PLAYS_WORDS = frozenset(
    ["popularity", "popular", "plays", "playcount", "playcounts", "listens", "listeners", "streams", "scrobbles", "likes", "followers", "favorites", "favourites", "views", "chart", "charts"]
)
_COUNTED = frozenset(["play", "listen", "listener", "stream", "like", "follower", "favorite", "favourite", "view", "scrobble", "user"])
_COUNTS = frozenset(["count", "counts", "num", "number", "total"])


@dataclass(frozen=True)
class SongField:
    """One content feature of songs.

    Attributes:
        name: the column's name, `attribute_*`, `audio_*` or `lyric_*`.
        kind: "category", "multi_category", "number" or "vector".
        length: number of elements of a vector; 1 for the other kinds.
    """

    name: str
    kind: Kind
    length: int = 1

    def __post_init__(self) -> None:
        if not is_feature(self.name):
            raise ValueError(f"`name` must start with one of {GROUPS} and an underscore. Received: {self.name!r}.")
        if self.kind not in get_args(Kind):
            raise ValueError(f"`kind` must be one of {get_args(Kind)}. Received: {self.kind!r}.")
        if self.length < 1 or (self.length != 1 and self.kind != "vector"):
            raise ValueError(f"`length` must be at least 1, and 1 unless `kind` is 'vector'. Received: {self.length}.")

    @property
    def group(self) -> Group:
        """The group of fields that the name's prefix says."""
        return cast(Group, self.name.split("_", 1)[0])


def is_feature(column: str) -> bool:
    """Return whether the column's name makes it a feature; every other column is carried for display."""
    prefix, _, rest = column.partition("_")
    return prefix in GROUPS and bool(rest)


def fields_of(
    schema: pa.Schema, *, lengths: Mapping[str, int] | None = None, file: Path | str = "songs.parquet"
) -> tuple[SongField, ...]:
    """Return the song fields of an Arrow schema, in the schema's order; columns of Arrow type null are left out.

    Args:
        schema: the schema of songs.parquet.
        lengths: number of elements of each list<float> column; where it lacks one, the length its type states, else 1.
        file: the file to name in errors.

    Raises:
        ContractError: a feature column has an unsupported type, an unusable name, or a name that speaks of plays.
    """
    known = dict(lengths or {})
    fields = []
    for column in schema:
        if not is_feature(column.name):
            continue
        _check_name(column.name, file)
        kind = kind_of(column.type, column.name, file)
        if kind == "vector":
            fields.append(SongField(column.name, kind, known.get(column.name, max(_stated_length(column.type), 1))))
        elif kind is not None:
            fields.append(SongField(column.name, kind))
    return tuple(fields)


def possible_kind(arrow_type: pa.DataType) -> Kind | None:
    """Return the kind of field an Arrow type says; None where it says none."""
    plain = plain_type(arrow_type)
    if is_text(plain):
        return "category"
    if is_number(plain):
        return "number"
    if is_list(plain):
        element = plain_type(plain.value_type)
        if is_text(element):
            return "multi_category"
        if is_number(element) and not pa.types.is_integer(element):
            return "vector"
    return None


def kind_of(arrow_type: pa.DataType, column: str, file: Path | str) -> Kind | None:
    """Return the kind of field an Arrow type says; None for the type null.

    Raises:
        ContractError: the type is none of string, list<string>, int, float, list<float>; a decimal counts as a float.
    """
    plain = plain_type(arrow_type)
    kind = possible_kind(plain)
    if kind or pa.types.is_null(plain) or (is_list(plain) and pa.types.is_null(plain_type(plain.value_type))):
        return kind
    remedy = _REMEDIES.get(str(plain), "")
    if is_list(plain) and pa.types.is_integer(plain_type(plain.value_type)):
        remedy = "Write ids as list<string>, a dense vector as list<float>."
    expected = (
        "string (category), list<string> (multi-valued category), int or float (number) or list<float> (dense vector)"
    )
    raise broken(file, expected, arrow_type, column=column, remedy=remedy)


_REMEDIES = {"bool": "Write it as strings (a category) or as 0 and 1 (a number)."}


def plain_type(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type of a dictionary's values; any other type as it is."""
    return arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type


def is_text(arrow_type: pa.DataType) -> bool:
    """Return whether the type is one of Arrow's string types, dictionary-encoded or not."""
    plain = plain_type(arrow_type)
    # Written as text, because string_view exists in newer versions of Arrow only.
    return str(plain) in ("string", "large_string", "string_view")


def is_number(arrow_type: pa.DataType) -> bool:
    """Return whether the type is one of whole numbers, floats or decimals, dictionary-encoded or not."""
    plain = plain_type(arrow_type)
    return any(test(plain) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))


def is_list(arrow_type: pa.DataType) -> bool:
    """Return whether the type is a list, large list or list of a fixed size."""
    return any(test(arrow_type) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _stated_length(arrow_type: pa.DataType) -> int:
    return int(arrow_type.list_size) if pa.types.is_fixed_size_list(arrow_type) else 1


def speaks_of_plays(words: Iterable[str]) -> bool:
    """Return whether the words of a column's name say that it is made from plays."""
    joined = set(words)
    return bool(joined & _PLAYS_WORDS or (joined & _COUNTED and joined & _COUNTS))


def _check_name(name: str, file: Path | str) -> None:
    if not _FIELD_NAME.fullmatch(name):
        raise broken(
            file, "a name of letters, digits and underscores (it names an input of the served model)", repr(name)
        )
    words = name.lower().split("_")[1:]
    if speaks_of_plays(words):
        raise broken(
            file,
            "no feature made from plays: popularity must not reach the model, a new song has none",
            f"a name that speaks of `{'_'.join(words)}`",
            column=name,
            remedy="Drop the column or carry it without the prefix; if it is not made from plays, rename it.",
        )
