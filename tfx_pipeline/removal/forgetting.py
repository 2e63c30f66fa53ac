"""Listeners forgotten: their ids are recorded, removed from all files, and searched for once more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline.contract.column_names import ColumnNames
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.forgotten import NAME, Forgotten
from tfx_pipeline.contract.id_lists import IdList, read_ids
from tfx_pipeline.contract.ids import USER_ID
from tfx_pipeline.contract.inputs import open_sources
from tfx_pipeline.contract.prepare import recorded_names
from tfx_pipeline.contract.stores.location import StorePath, locate
from tfx_pipeline.removal.folder import Changes, known_listeners, known_words, still_held, take_out
from tfx_pipeline.removal.wanted import ListenerColumns, Wanted, columns_of_plays, contract_columns
from tfx_pipeline.runtime.console import import_quietly, write_text
from tfx_pipeline.runtime.run_folder import RunFolder

_OF_A_RUN = (NAME, "input", "metadata.sqlite", "pipeline", "history")


@dataclass(frozen=True)
class Listed:
    """The listeners that a list names.

    Attributes:
        known: Ids that the folders hold.
        unknown: All possible ids of the other entries.
        num_unknown: Number of the other entries.
    """

    known: frozenset[str]
    unknown: frozenset[str]
    num_unknown: int


def check_folders(run: Path, given: Path | str | None) -> Path | None:
    """Returns the folder with data, after a check that the folders are a run's and one with data.

    Raises:
        ContractError: If one is not.
    """
    if not any((run / name).exists() for name in _OF_A_RUN):
        received = "another folder" if run.is_dir() else "no such folder"
        raise broken(run, f"the folder of a run, with {' or '.join(_OF_A_RUN[1:3])}", received)
    data = None if given is None else locate(given)
    if isinstance(data, StorePath):
        remedy = "Rewrite the tables there with your own tools. Runs leave the listeners out in any case."
        raise broken(data, "a folder of this machine, whose files are rewritten", "one in a store", remedy=remedy)
    if data is not None and not data.is_dir():
        raise broken(data, "a folder with songs and plays", "no such folder")
    return data


def forget(folder: RunFolder, users: Path, data: Path | None, *, dry_run: bool) -> dict[Path, str]:
    """Forgets the listeners of a list, and prints what changes.

    Args:
        folder: The run's folder, whose lock the caller holds.
        users: The list.
        data: Folder of songs and plays to remove them from as well; None for none. Its columns have the names that the
            last run was given.
        dry_run: Whether to print what would change, and change nothing.

    Returns:
        Files that may still hold a listener, and why.

    Raises:
        ContractError: If the list cannot be read or names nobody.
        OSError: If a file cannot be written.
    """
    import_quietly("tensorflow")  # which files of examples need
    places = [folder.home, *([data.resolve()] if data else [])]
    names = recorded_names(folder.input)
    columns = columns_of_plays(data.resolve(), names.of("plays").own(USER_ID)) if data else contract_columns
    known, words = _known(places, columns, names)
    listed = listed_in(read_ids(users, USER_ID, names.of("plays")), known)
    ids = listed.known | listed.unknown
    wanted = Wanted(ids, (known | words) - listed.known, columns)
    record = Forgotten.read(folder.home / NAME)
    if not dry_run:  # first: if this is stopped from here on, the next run leaves the listeners out
        record.and_also(ids).write(folder.home / NAME)
    for place in places:
        done = take_out(place, wanted, tables_only=place != folder.home, changed_only=dry_run)
        _print(_of_changes(place, done, dry_run=dry_run))
    _print(_of_list(listed, wanted))
    if dry_run:
        return {}
    left = {file: why for place in places for file, why in still_held(place, wanted).items()}
    if not left:
        _print([f"Searched every file below {' and '.join(map(str, places))}: none of the listeners is left."])
    return left


def listed_in(listed: IdList, known: set[str]) -> Listed:
    """Returns the listeners that a list names.

    Args:
        listed: The list.
        known: Ids that the folders hold.

    Raises:
        ContractError: If it names nobody.
    """
    found: set[str] = set()
    unknown: set[str] = set()
    num_unknown = 0
    for forms in listed.entries:
        meant = next((form for form in forms if form in known), None)
        if meant is not None:
            found.add(meant)
        elif forms[-1]:  # else a header, or blanks alone
            unknown.update(filter(None, forms))
            num_unknown += 1
    if not found and not unknown:
        raise broken(listed.file, "at least one id", "none")
    return Listed(frozenset(found), frozenset(unknown), num_unknown)


def _known(places: Sequence[Path], columns: ListenerColumns, names: ColumnNames) -> tuple[set[str], set[str]]:
    """Returns the listeners and the words of songs that the folders hold: the run's, then those of data."""
    users: set[str] = set()
    words: set[str] = set()
    for place in places:
        users |= known_listeners(place, columns)
        words |= known_words(place, columns)
    for place in places[1:]:
        with open_sources(place, columns=names) as (_, plays, _notes):
            for rows in plays.batches([USER_ID]):
                users.update(one for one in rows.column(USER_ID).to_pylist() if one and isinstance(one, str))
    return users, words


def _of_changes(place: Path, done: Changes, *, dry_run: bool) -> list[str]:
    verb = "would remove" if dry_run else "removed"
    lines = [f"{file.relative_to(place)}: {change}" for file, change in done.changed.items()]
    lines += [f"{file.relative_to(place)}: {verb}, a stopped run had left it aside" for file in done.removed]
    return [f"{place}:", *(f"  {line}" for line in lines or ["no file to change"])]


def _of_list(listed: Listed, wanted: Wanted) -> list[str]:
    lines = [f"Listeners known here: {len(listed.known):,}."]
    if listed.num_unknown:
        lines += [f"{listed.num_unknown:,} entries name nobody known here: later runs leave them out all the same."]
    if short := len(listed.known) - len(listed.known & wanted.plain):
        lines += [
            f"{short:,} ids are short or are words of songs too: they were searched for in columns of listeners, "
            "where nothing else can be meant."
        ]
    return lines


def _print(lines: Iterable[str]) -> None:
    write_text("".join(f"{line}\n" for line in lines))
