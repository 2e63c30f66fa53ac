"""Who wrote each field of a data set, and what it is derived from: `sources.json` beside songs.parquet.

    {"attribute_tags": {"written_by": "listeners"},
     "attribute_tag_words": {"derived_from": ["attribute_tags"]},
     "attribute_script": {"written_by": "label"}}

An importer writes it. A study that asks about a song's first day withholds what nobody has written by then, and all
that is derived from it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.files.whole_files import write_whole
from tfx_pipeline.contract.errors import broken

SOURCES = "sources.json"
#: Who may write a field. What `LATE` ones write is not there on a song's first day: a label delivers titles, artists
#: and genres with the song, and a machine computes audio numbers.
WRITERS = ("label", "machine", "listeners", "editors")
LATE = frozenset({"listeners", "editors"})
_KEYS = {"written_by", "derived_from"}


@dataclass(frozen=True)
class Source:
    """Where the values of a field come from.

    Attributes:
        written_by: One of `WRITERS`; None for what is derived from other fields alone.
        derived_from: Names of the fields that it is computed from.
    """

    written_by: str | None = None
    derived_from: tuple[str, ...] = ()


def write_sources(folder: Path, sources: Mapping[str, Source]) -> None:
    """Writes `sources.json` into a folder."""
    shown = {
        name: {
            **({"written_by": source.written_by} if source.written_by else {}),
            **({"derived_from": list(source.derived_from)} if source.derived_from else {}),
        }
        for name, source in sources.items()
    }
    write_whole(folder / SOURCES, json.dumps(shown, indent=1, ensure_ascii=False) + "\n")


def read_sources(folder: Path) -> dict[str, Source] | None:
    """Returns the source of each field, or None where the folder does not say.

    Raises:
        ContractError: The file is not what `write_sources` writes.
    """
    path = folder / SOURCES
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise broken(path, "JSON", str(error)) from error
    if not isinstance(found, dict):
        raise broken(path, "an object of fields", type(found).__name__)
    sources = {name: _source(path, name, value) for name, value in found.items()}
    for name, source in sources.items():
        if unknown := [other for other in source.derived_from if other not in sources]:
            raise broken(path, f"fields that the file has, in `derived_from` of {name!r}", ", ".join(unknown))
    return sources


def not_on_day_zero(sources: Mapping[str, Source]) -> frozenset[str]:
    """Returns the fields that a song lacks on its first day: written by `LATE` writers, or derived from such."""
    late = {name for name, source in sources.items() if source.written_by in LATE}
    while more := {n for n, source in sources.items() if n not in late and late & set(source.derived_from)}:
        late |= more
    return frozenset(late)


def _source(path: Path, name: str, value: object) -> Source:
    if not isinstance(value, dict) or not set(value) <= _KEYS or not value:
        raise broken(path, f"an object of {' and '.join(sorted(_KEYS))} for {name!r}", repr(value))
    writer, origins = value.get("written_by"), value.get("derived_from", [])
    if writer is not None and writer not in WRITERS:
        raise broken(path, f"`written_by` of {name!r} as one of {', '.join(WRITERS)}", repr(writer))
    if not _are_names(origins):
        raise broken(path, f"`derived_from` of {name!r} as a list of fields", repr(origins))
    return Source(writer, tuple(origins))


def _are_names(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(n, str) for n in value)
