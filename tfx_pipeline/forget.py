"""Forget listeners: `python -m tfx_pipeline.forget RUN --users FILE [--data DIR] [--dry-run]`.

Takes them out of every file that a run keeps, and leaves their plays out of whatever later runs in RUN read. Then
searches all files for them. Started again after it was stopped, it goes on. No line that it prints holds an id.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("Every file is whole. Start the command again: it goes on.")  # before the imports below

from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.forgotten import NAME, Forgotten
from tfx_pipeline.contract.id_lists import IdList, read_ids
from tfx_pipeline.runtime.console import import_quietly, write_text
from tfx_pipeline.runtime.run_folder import RunFolder

_OF_A_RUN = (NAME, "input", "metadata.sqlite", "pipeline", "history")


@dataclass(frozen=True)
class Listed:
    """Whom a list names.

    Attributes:
        known: Ids that the folders hold.
        unknown: All that the other entries may mean.
        count: The other entries.
    """

    known: frozenset[str]
    unknown: frozenset[str]
    count: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 where an id is left or the input is bad."""
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.forget", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("run", type=Path, help="folder of the runs, as --out of the demo or BCL_RUN")
    parser.add_argument("--users", type=Path, required=True, help="list of user ids: text, CSV or Parquet")
    parser.add_argument(
        "--data", type=Path, help="folder of songs and plays to take them out of as well (default: none)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say which files would change, and change none")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        _check_folders(options)
        folder = RunFolder.at(options.run)
        with folder.for_this_run("RUN", options.data):
            return _forget(folder, options)
    except (ValueError, OSError) as error:  # of the folders, the lists or a file that cannot be written
        sys.stderr.write(f"{error}\n")
        return 2


def _check_folders(options: argparse.Namespace) -> None:
    if not any((options.run / name).exists() for name in _OF_A_RUN):
        received = "another folder" if options.run.is_dir() else "no such folder"
        raise broken(options.run, f"the folder of a run, with {' or '.join(_OF_A_RUN[1:3])}", received)
    if options.data is not None and not options.data.is_dir():
        raise broken(options.data, "a folder with songs and plays", "no such folder")


def _forget(folder: RunFolder, options: argparse.Namespace) -> int:
    import_quietly("tensorflow")
    from tfx_pipeline.removal.folder import still_held, take_out
    from tfx_pipeline.removal.wanted import Wanted

    places = [folder.home, *([options.data.resolve()] if options.data else [])]
    users, words = _known(places)
    listed = listed_in(read_ids(options.users, "user_id"), users)
    ids = listed.known | listed.unknown
    wanted = Wanted(ids, (users | words) - listed.known)
    listing = Forgotten.read(folder.home / NAME)
    if not options.dry_run:  # first: what stops from here on, the next run leaves out
        listing.and_also(ids).write(folder.home / NAME)
    for place in places:
        done = take_out(place, wanted, tables_only=place != folder.home, changed_only=options.dry_run)
        _say(_lines(place, done.changed.items(), done.removed, dry=options.dry_run))
    _say(_of_list(listed, wanted))
    if options.dry_run:
        return 0
    left = {file: why for place in places for file, why in still_held(place, wanted).items()}
    if left:
        sys.stderr.write("".join(f"{file}: {why}.\n" for file, why in left.items()))
        sys.stderr.write(f"{len(left):,} files may still hold a listener. Remove them, or mend them and start again.\n")
        return 2
    _say([f"Searched every file below {' and '.join(map(str, places))}: none of the listeners is left."])
    return 0


def listed_in(listed: IdList, users: set[str]) -> Listed:
    """Returns whom a list names.

    Raises:
        ContractError: If it names nobody.
    """
    known: set[str] = set()
    unknown: set[str] = set()
    count = 0
    for forms in listed.entries:
        meant = next((form for form in forms if form in users), None)
        if meant is not None:
            known.add(meant)
        elif forms[-1]:  # else a header, or blanks alone
            unknown.update(filter(None, forms))
            count += 1
    if not known and not unknown:
        raise broken(listed.file, "at least one id", "none")
    return Listed(frozenset(known), frozenset(unknown), count)


def _known(places: Iterable[Path]) -> tuple[set[str], set[str]]:
    """Returns the listeners and the words of songs that the folders hold."""
    from tfx_pipeline.contract.inputs import open_sources
    from tfx_pipeline.removal.folder import known_listeners, known_words

    users: set[str] = set()
    words: set[str] = set()
    for place in places:
        users |= known_listeners(place)
        words |= known_words(place)
    for place in list(places)[1:]:
        with open_sources(place) as (_, plays, _notes):
            for rows in plays.batches(["user_id"]):
                users.update(filter(None, map(_as_id, rows.column("user_id").to_pylist())))
    return users, words


def _as_id(value: object) -> str:
    return value if isinstance(value, str) else ""


def _lines(place: Path, changed: Iterable[tuple[Path, str]], removed: Sequence[Path], *, dry: bool) -> list[str]:
    verb = "would remove" if dry else "removed"
    lines = [f"{file.relative_to(place)}: {said}" for file, said in changed]
    lines += [f"{file.relative_to(place)}: {verb}, a stopped run had left it aside" for file in removed]
    return [f"{place}:", *(f"  {line}" for line in lines or ["no file to change"])]


def _of_list(listed: Listed, wanted: object) -> list[str]:
    lines = [f"Listeners known here: {len(listed.known):,}."]
    if listed.count:
        lines += [f"{listed.count:,} entries name nobody who is kept here: later runs leave them out all the same."]
    if common := len(listed.known) - len(listed.known & wanted.plain):  # type: ignore[attr-defined]
        lines += [
            f"{common:,} ids are short or are words of songs too: they were searched for in columns of listeners, "
            "where nothing else can be meant."
        ]
    return lines


def _say(lines: Iterable[str]) -> None:
    write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
