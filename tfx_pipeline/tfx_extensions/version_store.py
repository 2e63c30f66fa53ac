"""Versions of a model copied to a store, where TensorFlow Serving or a copy to its disk finds them.

A poll of the base path may see a version's number as soon as its first file is there. So `saved_model.pb` comes last:
without it a version cannot be loaded, and a server that tries says so and tries again. After it comes the marker.
"""

from __future__ import annotations

from pathlib import Path

from serving.savedmodel.versions import scan
from tfx_pipeline.contract.stores.location import Location, locate
from tfx_pipeline.contract.stores.writing import folders_in, marked, remove_folder, write_folder

_GRAPH = "saved_model.pb"


def copy_versions(base: Path | str, store: Location | str, keep: int | None = None) -> tuple[int, ...]:
    """Copies the versions that the store lacks, the earliest first, and returns their numbers.

    Args:
        base: Folder of the model's versions.
        store: A folder of a store.
        keep: How many of the latest versions stay in the store; None = all.

    Raises:
        ContractError: The store does not take them.
    """
    place = locate(store)
    versions = dict(sorted(scan(str(base)).items())[-keep:] if keep else sorted(scan(str(base)).items()))
    copied = [number for number, path in versions.items() if write_folder(Path(path), place / str(number), [_GRAPH])]
    if keep is not None:
        _remove_old(place, keep)
    return tuple(copied)


def _remove_old(place: Location, keep: int) -> None:
    numbers = sorted(int(name) for name in folders_in(place) if name.isdecimal())
    whole = [number for number in numbers if marked(place / str(number)) is not None]
    for number in whole[:-keep]:
        remove_folder(place / str(number), [_GRAPH])
