"""All files below a folder: those that hold an id are rewritten, then all are searched once more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from serving.files.whole_files import put_link
from tfx_pipeline.removal import contents, search
from tfx_pipeline.removal.rewriting import ASIDE, rewrite
from tfx_pipeline.removal.wanted import ListenerColumns, Wanted, contract_columns

#: Ends of names that a killed run leaves aside. Nothing reads such files.
_LEFT_ASIDE = (".writing", ".before")


@dataclass
class Changes:
    """What was done below a folder.

    Attributes:
        changed: What was removed from each file, in words.
        removed: Files that a killed run had left aside.
    """

    changed: dict[Path, str] = field(default_factory=dict)
    removed: list[Path] = field(default_factory=list)


def files_below(folder: Path) -> Iterator[Path]:
    """Yields every file in the order of names. It follows no links: their targets are files of their own."""
    for path, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(path, name)
            if file.is_file() and not file.is_symlink():
                yield file


def take_out(folder: Path, wanted: Wanted, *, tables_only: bool = False, changed_only: bool = False) -> Changes:
    """Rewrites every file that holds one of the listeners.

    Args:
        folder: The folder.
        wanted: Their ids.
        tables_only: Whether to change tables of listeners only, and no other text.
        changed_only: Whether to return what would change, and change nothing.
    """
    done = Changes()
    twins: dict[tuple[int, int], Path] = {}
    for file in list(files_below(folder)):
        name = file.relative_to(folder)
        if _is_aside(name):
            done.removed.append(file)
            if not changed_only:
                file.unlink()
            continue
        if changed_only:
            if _search(file, wanted):
                done.changed[file] = "would change"
            continue
        state = file.stat()
        key = (state.st_dev, state.st_ino)
        if key in twins:  # one file under two names stays one
            _link(twins[key], file)
            done.changed[file] = "the same file"
        elif removed := _rewritten(file, wanted, tables_only=tables_only):
            done.changed[file] = removed
            if state.st_nlink > 1:
                twins[key] = file
    return done


def still_held(folder: Path, wanted: Wanted) -> dict[Path, str]:
    """Returns the files in which an id stands, or that cannot be searched, and why."""
    found = {}
    for file in files_below(folder):
        try:
            if search.in_name(file.relative_to(folder), wanted):
                found[file] = "its name holds an id"
            elif search.holds(file, wanted):
                found[file] = "it holds an id"
        except Exception as error:
            found[file] = f"it cannot be searched: {_first_line(error)}"
    return found


def known_listeners(folder: Path, columns: ListenerColumns = contract_columns) -> set[str]:
    """Returns the listeners of every Parquet file below a folder."""
    return _of_parquet(folder, lambda file: contents.listeners_of(file, columns))


def known_words(folder: Path, columns: ListenerColumns = contract_columns) -> set[str]:
    """Returns the ids and words of songs of every Parquet file of songs below a folder."""
    return _of_parquet(folder, lambda file: contents.words_of(file, columns), "songs")


def _of_parquet(folder: Path, read: Callable[[Path], set[str]], begins: str = "") -> set[str]:
    found: set[str] = set()
    for file in files_below(folder):
        try:
            if (begins in (file.name[: len(begins)], file.parent.name[: len(begins)])) and (
                contents.kind_of(file) == "parquet"
            ):
                found |= read(file)
        except (OSError, pa.ArrowException):  # `still_held` reports it
            continue
    return found


def _rewritten(file: Path, wanted: Wanted, *, tables_only: bool) -> str | None:
    try:
        return rewrite(file, wanted, tables_only=tables_only)
    except OSError:
        raise
    except Exception:
        return None


def _search(file: Path, wanted: Wanted) -> bool:
    try:
        return search.holds(file, wanted)
    except Exception:
        return False


def _is_aside(name: Path) -> bool:
    return any(
        part.startswith((ASIDE, "_partial-", ".plays-"))
        or (part.startswith(".") and ".writing" in part)
        or part.endswith(_LEFT_ASIDE)
        for part in name.parts
    )


def _link(source: Path, file: Path) -> None:
    aside = file.with_name(f"{ASIDE}{file.name}")
    aside.unlink(missing_ok=True)
    os.link(source, aside)
    put_link(aside, file)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
