"""Finds the files of a table: one Parquet file, a folder of parts as Spark writes it, or folders `column=value`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.stores.location import Location, below, children

_SUFFIXES = (".parquet", ".parq", ".pq")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# What makes the Parquet files of a folder more, or fewer, than the rows of its table.
_NOT_PLAIN = {
    "_delta_log": "a Delta table, which keeps deleted rows in its files",
    ".hoodie": "a Hudi table, which keeps old rows in its files",
    "_temporary": "`_temporary`, which Spark leaves when a write did not finish",
}
_EXPORT = "Write the table as plain Parquet, and let the write finish."


@dataclass(frozen=True)
class Part:
    """One Parquet file of a table.

    Attributes:
        path: The Parquet file to read.
        shown: The file to name in messages; differs from `path` where a CSV was converted.
        keys: The columns that folders above it state as `column=value`, None where they state a missing value.
    """

    path: Location
    shown: Location
    keys: dict[str, str | None] = field(default_factory=dict)


def table_parts(path: Location, *, but: frozenset[str] = frozenset()) -> tuple[Part, ...]:
    """Returns the parts of a table, in the order of their names.

    Args:
        path: A file, or a folder of parts.
        but: Names in the folder that are passed over, and not listed.

    Raises:
        ContractError: There is no such table, or the folder is no plain table: a write did not finish, or files beside
            the parts are not Parquet.
    """
    if path.is_file():
        return (Part(path, path),)
    if not path.is_dir():
        raise broken(path, "a Parquet file", "none", remedy="A folder of Parquet files is read as one.")
    refuse_unfinished(path)
    files = list(_files(path, frozenset(), but))
    if not files:
        raise broken(path, "at least one Parquet file in the folder", "none")
    for file in files:
        if not _is_parquet(file):
            remedy = "Move it elsewhere; only names that begin with _ or . are passed over."
            raise broken(file, "a folder with nothing but Parquet files", "another file", remedy=remedy)
    return tuple(Part(file, file, keys_of(below(file, path).parts[:-1])) for file in files)


def refuse_unfinished(folder: Location) -> None:
    """Raises ContractError where the Parquet files below the folder are not what its table holds."""
    for name, received in _NOT_PLAIN.items():
        if (folder / name).exists():
            raise broken(folder, "a folder of Parquet files alone", received, remedy=_EXPORT)


def parquet_files(folder: Location) -> Iterator[Location]:
    """Yields the files below a folder that are Parquet by their names, whatever lies beside them."""
    return (file for file in _files(folder, frozenset()) if file.name.lower().endswith(_SUFFIXES))


#: Endings of tables that are text. What separates their columns is found in the file.
TEXT_SUFFIXES = (".csv", ".tsv")


def find_table(folder: Location, name: str) -> Location:
    """Returns where a table lies in a folder: `name`.parquet (a file or a folder), `name`/, `name`.csv or `name`.tsv.

    Raises:
        ContractError: It is in none of these.
    """
    found = tables_named(folder, name)
    if found:
        return found[0]
    expected = f"{name}.parquet or {name}.csv in the folder"
    folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path))
    if not folders:
        raise broken(folder, expected, "neither")
    shown = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
    raise broken(folder, f"{expected}, or a folder for each day, {DAYS}", f"neither, but the folders {shown}")


#: How folders of days may be named.
DAYS = "named span-<number>, span-2026-11-01 or date=2026-11-01"


def tables_named(folder: Location, name: str) -> list[Location]:
    """Returns the files and folders that may be the table, best first; of those only the first is read.

    Raises:
        ContractError: `name`.csv or `name`.tsv is a folder.
    """
    texts = [folder / f"{name}{suffix}" for suffix in TEXT_SUFFIXES]
    for path in texts:
        if path.is_dir():
            raise broken(path, "one file", "a folder", remedy="Write the parts as one CSV file, or as Parquet.")
    parquet, bare = folder / f"{name}.parquet", folder / name
    # A folder of that name may hold anything, such as sound files.
    is_table = {parquet: parquet.exists(), bare: bare.is_dir() and any(True for _ in parquet_files(bare))}
    is_table |= {path: path.is_file() for path in texts}
    return [path for path, there in is_table.items() if there]


def _files(folder: Location, above: frozenset[Location], but: frozenset[str] = frozenset()) -> Iterator[Location]:
    """Yields the files below a folder in the order of their names, without hidden ones; links are followed once."""
    here = folder.resolve()
    if here in above:
        return
    for path in children(folder):
        if is_hidden(path) or path.name in but:
            continue
        if path.is_dir():
            yield from _files(path, above | {here})
        else:
            yield path


def is_hidden(path: Location) -> bool:
    """Returns whether it is a mark of the writer: `_SUCCESS`, `._SUCCESS.crc`, `_metadata`. `_a=1` is a partition."""
    return path.name.startswith(".") or path.suffix == ".crc" or (path.name.startswith("_") and "=" not in path.name)


def _is_parquet(file: Location) -> bool:
    if file.name.lower().endswith(_SUFFIXES):  # A damaged file is named when it is read.
        return True
    with file.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def keys_of(folders: Iterable[str]) -> dict[str, str | None]:
    """Returns the columns that names of folders state as `column=value`, None where they state a missing value."""
    pairs = [folder.split("=", 1) for folder in folders if "=" in folder]
    return {unquote(name): None if value == _NO_VALUE else unquote(value) for name, value in pairs}
