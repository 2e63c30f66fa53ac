"""Which versions of a model nobody needs any more, and how they go: a rename aside first, then the files.

A server's poll never sees half a version. The last N versions stay. So do those that a server may serve by its
configuration file, and those that a link of what stays leads into.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from serving.files.folder_lock import only_process_in
from serving.savedmodel.publish import LOCK
from serving.savedmodel.versions import scan

#: A folder is renamed to this before it is removed. It is no number, so no server takes it for a version.
GOING = ".pruning"


def old_versions(base: str | Path, keep: int, config_file: str | Path | None = None) -> dict[int, str]:
    """Returns the versions that may go, by number and path.

    Args:
        base: Folder of the model's versions.
        keep: How many of the latest versions stay.
        config_file: The server's `--model_config_file`. What its policies and labels name stays, too. None = the server
            has none, and serves the latest version alone.

    Raises:
        ValueError: If `keep` is less than 1, or the file names no model of this folder.
        RequestError: If the file cannot be read.
        OSError: If the folder cannot be listed.
    """
    if keep < 1:
        raise ValueError(f"expected at least 1 version to be kept. Received: {keep}")
    versions = scan(str(base))
    stay = set(sorted(versions)[-keep:])
    if config_file is not None:
        stay |= _served(str(base), str(config_file), versions)
    old = {number: path for number, path in versions.items() if number not in stay}
    while needed := _led_to(_links(str(base), versions, old), old):
        old = {number: path for number, path in old.items() if number not in needed}
    return old


def remove_old_versions(base: str | Path, keep: int, config_file: str | Path | None = None) -> tuple[int, ...]:
    """Removes the versions that may go, while no other publication is under way.

    Args:
        base: Folder of the model's versions.
        keep: How many of the latest versions stay.
        config_file: As for `old_versions`.

    Returns:
        Their numbers.

    Raises:
        FolderError: If another process publishes a version.
        ValueError, RequestError, OSError: As `old_versions`, or if a folder cannot be removed.
    """
    with only_process_in(base, LOCK):
        shutil.rmtree(os.path.join(base, GOING), ignore_errors=True)  # what a killed process left
        old = old_versions(base, keep, config_file)
        for path in old.values():
            remove_aside(Path(path))
    return tuple(sorted(old))


def remove_aside(path: Path) -> None:
    """Removes a folder, or a link to one, after a rename. Where a link leads to, nothing is removed."""
    if path.is_symlink():
        path.unlink()
        return
    aside = path.parent / GOING
    if path != aside:
        os.rename(path, aside)
    shutil.rmtree(aside)


def _served(base: str, config_file: str, versions: Mapping[int, str]) -> set[int]:
    """Returns the versions that a server with this configuration file may serve."""
    # Late: the messages of TensorFlow Serving are needed here alone.
    from serving.server.models.config import read_model_config_file, read_models

    models = read_models(read_model_config_file(config_file))
    # In a container the folder may have another path. The file's only model is the one that is meant.
    meant = [model for model in models if os.path.realpath(model.base_path) == os.path.realpath(base)]
    meant = meant or models if len(models) == 1 else meant
    if not meant:
        paths = ", ".join(model.base_path for model in models) or "none"
        raise ValueError(f"{config_file}: expected a model with the base path {base}. Received: {paths}")
    return {number for model in meant for number in (*model.policy.select(versions), *model.labels.values())}


def _links(base: str, versions: Mapping[int, str], old: Mapping[int, str]) -> Iterator[str]:
    """Yields the links of all that stays: in the folder of the versions, and inside the versions."""
    going = set(old.values())
    stay = [path for path in versions.values() if path not in going]
    beside = [os.path.join(base, name) for name in os.listdir(base)]
    yield from (path for path in beside if os.path.islink(path) and path not in going)
    for top in stay:
        for folder, folders, files in os.walk(os.path.realpath(top)):
            paths = (os.path.join(folder, name) for name in (*folders, *files))
            yield from (path for path in paths if os.path.islink(path))


def _led_to(links: Iterable[str], old: Mapping[int, str]) -> set[int]:
    """Returns the old versions that links lead into."""
    places = {os.path.realpath(path): number for number, path in old.items()}
    found = set()
    for link in links:
        place = os.path.realpath(link)
        found |= {number for old_place, number in places.items() if Path(place).is_relative_to(old_place)}
    return found
