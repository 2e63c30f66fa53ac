"""What the first rows of a table show of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.arrow_types import is_text, plain_type
from tfx_pipeline.contract.play_columns import is_count, is_flag, is_time
from tfx_pipeline.contract.source import Source

#: Batches of 65,536 rows.
_MOST_BATCHES = 8
_WHOLE = r"^[0-9]+(\.0)?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:.*)?$"
_FLAG = r"(?i)^(true|false|t|f|yes|no|y|n|0|1)$"


@dataclass
class Sample:
    """A column's type, and the distinct values of its first rows as text.

    Attributes:
        type: Its Arrow type, without a dictionary.
        values: The distinct values; none where the column holds neither text nor whole numbers.
        rows: Number of rows.
        missing: Number of nulls.
    """

    type: pa.DataType
    values: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    rows: int = 0
    missing: int = 0

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return is_text(self.type)

    @property
    def may_be_ids(self) -> bool:
        """Whether it holds text or whole numbers, in every row."""
        return (self.is_text or pa.types.is_integer(self.type)) and not self.missing

    @property
    def distinct(self) -> float:
        """Distinct values per row."""
        return len(self.values) / max(self.rows, 1)

    @property
    def is_distinct(self) -> bool:
        """Whether no value repeats."""
        return self.rows > 0 and len(self.values) == self.rows

    @property
    def is_moment(self) -> bool:
        """Whether it holds times or dates, also as text in ISO 8601."""
        typed = pa.types.is_timestamp(self.type) or pa.types.is_date(self.type)
        return bool(typed) or (self.is_text and self._all(_DATE))

    @property
    def is_count(self) -> bool:
        """Whether it may hold numbers of plays, also as text, which CSV has."""
        return self._all(_WHOLE) if self.is_text else is_count(self.type)

    @property
    def is_flag(self) -> bool:
        """Whether it may say true or false; numbers must be 0 or 1."""
        if self.is_text or pa.types.is_integer(self.type):
            return self._all(_FLAG)
        return is_flag(self.type)

    @property
    def is_time(self) -> bool:
        """Whether it may hold times."""
        if self.is_text:
            return self.is_moment or self._all(_WHOLE)
        return is_time(self.type)

    def _all(self, pattern: str) -> bool:
        return len(self.values) > 0 and bool(pc.all(pc.match_substring_regex(self.values, pattern)).as_py())


def sample_of(source: Source) -> Mapping[str, Sample]:
    """Returns what the first rows show, by column."""
    types: dict[str, pa.DataType] = {}
    for header in source.filled:
        for column in header.schema:
            if not pa.types.is_null(column.type):
                types.setdefault(column.name, plain_type(column.type))
    found = {name: Sample(types[name]) for name in source.names if name in types}
    read = [name for name, sample in found.items() if sample.is_text or pa.types.is_integer(sample.type)]
    for rows in islice(source.batches(read), _MOST_BATCHES) if read else ():
        for name in read:
            sample, column = found[name], rows.column(name)
            if not pa.types.is_null(column.type):
                texts = pc.unique(_as_text(column)).drop_null()
                sample.values = pc.unique(pa.concat_arrays([sample.values, texts]))
            sample.rows += len(rows)
            sample.missing += column.null_count
    return found


def agreement(played: Sample, songs: Sample) -> float:
    """Returns the share of the values of a column of plays that a column of songs has."""
    if not len(played.values):
        return 0.0
    return float(pc.mean(pc.is_in(played.values, value_set=songs.values).cast(pa.int8())).as_py())


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:  # No UTF-8: the check of the contract names the row.
        return pa.array([], pa.string())
