"""Folders written to a store, which has no rename: every file first, then a marker that says that all are there.

The marker, `_COMPLETE.json`, names each file with its size and SHA-256. A folder without it is not whole. It is one
object, so a store shows it whole or not at all. Some files may be named to come late. So a reader who does not know the
marker finds no folder that looks whole before it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyarrow import fs

from tfx_pipeline.contract.stores.failures import unreadable
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.runtime.fingerprint import file_digest

MARK = "_COMPLETE.json"
_BLOCK = 1 << 23


def write_folder(folder: Path, place: Location, last: Sequence[str] = ()) -> bool:
    """Writes a folder to a store, unless it is there already. Returns whether it was written.

    What a stopped process left there is written again.

    Args:
        folder: The folder. Links in it are followed.
        place: Where it goes.
        last: Names in the folder that come after all others, in this order.

    Raises:
        ContractError: The store does not take it. Then the folder there has no marker.
    """
    late = {folder / name: rank for rank, name in enumerate(last)}
    there = (Path(top, name) for top, _, names in os.walk(folder, followlinks=True) for name in names)
    files = sorted(there, key=lambda file: (late.get(file, -1), str(file)))
    names = [str(file.relative_to(folder)) for file in files]
    content = {
        name: {"bytes": file.stat().st_size, "sha256": file_digest(file)}
        for name, file in zip(names, files, strict=True)
    }
    if marked(place) == content:
        return False
    _remove(place, MARK)
    for name, file in zip(names, files, strict=True):
        _copy(file, place, name)
    write_text(place / MARK, json.dumps({"files": content}, indent=1, sort_keys=True) + "\n")
    return True


def marked(place: Location) -> dict[str, Any] | None:
    """Returns the files that the marker of a folder names; None where there is no marker."""
    system, path = _system(place)
    try:
        with system.open_input_stream(f"{path}/{MARK}") as stream:
            return dict(json.loads(stream.read())["files"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # no marker of ours
        return None
    except OSError as error:
        raise unreadable(f"{place}/{MARK}", "a file that can be read", error) from error


def write_text(place: Location, text: str) -> None:
    """Writes one file, which a reader finds whole or as it was before.

    Raises:
        ContractError: The store does not take it.
    """
    _write(place, [text.encode()])


def folders_in(place: Location) -> list[str]:
    """Returns the names of the folders in a folder of a store, as they are now."""
    system, path = _system(place)
    try:
        found = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise unreadable(str(place), "a folder that can be listed", error) from error
    return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)


def remove_folder(place: Location, first: Sequence[str] = ()) -> None:
    """Removes a folder of a store: the marker, then the named files, then the rest.

    Raises:
        ContractError: The store does not let us.
    """
    for name in (MARK, *first):
        _remove(place, name)
    system, path = _system(place)
    try:
        system.delete_dir(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(str(place), "a folder that can be removed", error) from error


def _copy(file: Path, place: Location, name: str) -> None:
    with file.open("rb") as stream:
        _write(place / name, iter(lambda: stream.read(_BLOCK), b""))


def _write(place: Location, blocks: Any) -> None:
    system, path = _system(place)
    try:
        if isinstance(place, Path):  # Stores have no folders to make. A marker of one would be seen too early.
            place.parent.mkdir(parents=True, exist_ok=True)
        with system.open_output_stream(path) as out:
            for block in blocks:
                out.write(block)
    except OSError as error:
        raise unreadable(str(place), "a file that can be written", error) from error


def _remove(place: Location, name: str) -> None:
    system, path = _system(place)
    try:
        if system.get_file_info(f"{path}/{name}").type == fs.FileType.File:
            system.delete_file(f"{path}/{name}")
    except OSError as error:
        raise unreadable(f"{place}/{name}", "a file that can be removed", error) from error


def _system(place: Location) -> tuple[fs.FileSystem, str]:
    return (fs.LocalFileSystem(), str(place)) if isinstance(place, Path) else (place.store.system, place.path)
