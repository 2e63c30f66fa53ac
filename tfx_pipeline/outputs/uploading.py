"""What a run published, copied to a store.

STORE/serving/<version>/     the versions of the model
STORE/history/<run id>/      the tables of the last run whose model was pushed, and manifest.json, which comes last
STORE/refreshed/<version>/   the tables of each refresh
STORE/latest.txt             the run id of the tables that hold now

Each folder has a marker, `_COMPLETE.json`, when it is whole. `latest.txt` names a whole folder at all times.
"""

from __future__ import annotations

from pathlib import Path

from tfx_pipeline.contract.stores.location import Location, locate
from tfx_pipeline.contract.stores.writing import write_folder, write_text
from tfx_pipeline.outputs.schemas import MANIFEST
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.tfx_extensions.version_store import copy_versions


def upload(folder: RunFolder, store: Location | str, keep: int | None = None) -> list[str]:
    """Copies what the store lacks, and returns a line for each folder that was copied.

    Args:
        folder: The run's folder, which the caller holds.
        store: A folder of a store.
        keep: How many of the latest versions stay in the store; None = all.

    Raises:
        ContractError: The store does not take it. What was whole there stays.
    """
    place = locate(store)
    versions = copy_versions(folder.serving, place / "serving", keep) if folder.serving.is_dir() else ()
    lines = [f"{place}/serving/{number}" for number in versions]
    lines += [f"{place}/refreshed/{path.name}" for path in _refreshes(folder) if _copy(path, place / "refreshed")]
    if folder.latest.exists():
        latest = folder.latest.resolve()
        lines += [f"{place}/history/{latest.name}"] if _copy(latest, place / "history") else []
        write_text(place / "latest.txt", f"{latest.name}\n")
    return lines


def _refreshes(folder: RunFolder) -> list[Path]:
    found = folder.refreshed.iterdir() if folder.refreshed.is_dir() else ()
    return sorted(path for path in found if path.name.isdecimal() and (path / MANIFEST).is_file())


def _copy(path: Path, place: Location) -> bool:
    return write_folder(path, place / path.name, [MANIFEST])
