"""What songs have in common: the known values that they share, field by field."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tfx_pipeline import contract
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.outputs.reading import rows_of
from tfx_pipeline.outputs.titles import NAMING


@dataclass(frozen=True)
class CatalogueRows:
    """Rows of the prepared catalogue.

    Attributes:
        file: The songs.
        fields: Fields of the songs that can be compared by their values.
    """

    file: Path
    fields: tuple[str, ...]

    @classmethod
    def open(cls, prepared: Path) -> CatalogueRows:
        """Opens the input of a run.

        Raises:
            ContractError: If `prepared` was not written by `contract.prepare`.
        """
        fields = contract.load_prepared(prepared).fields
        # Two vectors are almost never equal. The score says how similar they are.
        return cls(prepared / contract.SONGS, tuple(field.name for field in fields if not field.is_sized))

    def of(self, song_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Returns fields and names by song, without the songs that are not in the catalogue."""
        names = pq.read_schema(self.file).names
        columns = [SONG_ID, *(name for name in (*self.fields, *NAMING) if name in names)]
        return {row[SONG_ID]: row for row in rows_of(self.file, song_ids, columns)}


def title_of(row: Mapping[str, Any]) -> str | None:
    """Returns the title of a row of the catalogue."""
    return next((row[name] for name in NAMING if row.get(name)), None)


def in_common(song: Mapping[str, Any], other: Mapping[str, Any], fields: Sequence[str]) -> dict[str, list[Any]]:
    """Returns the values that both songs have, by field; fields without such values are left out."""
    shared: dict[str, list[Any]] = {}
    for name in fields:
        theirs = _values(other.get(name))
        if both := [value for value in dict.fromkeys(_values(song.get(name))) if value in theirs]:
            shared[name] = both
    return shared


def _values(value: Any) -> list[Any]:
    """Returns the known values; an empty string is not a value."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return [one for one in values if one is not None and one != ""]
