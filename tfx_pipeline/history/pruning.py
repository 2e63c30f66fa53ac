"""Removes old runs and versions, so that the disk does not fill up.

The last N runs stay, the run whose model is served, and the last N versions. Artifacts that a kept run took from the
cache of an earlier one stay with it. ML Metadata deletes nothing: artifacts are marked as deleted there before their
folders are removed, so that TFX never takes them from its cache.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from serving.refresh.old_versions import GOING, old_versions, remove_aside
from serving.savedmodel.versions import scan
from tfx_pipeline.history.run_history import RecordedRun, place_of, pushes, read_runs
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.history.served_copies import pushed_as
from tfx_pipeline.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class Plan:
    """What is to be removed.

    Attributes:
        runs: Ids of runs that lose their files. Their lines in ML Metadata stay.
        versions: Numbers of models, whose folders are among `folders`.
        folders: Folders to remove.
        artifacts: Ids of artifacts to mark as deleted, by the records that hold them.
    """

    runs: tuple[str, ...]
    versions: tuple[int, ...]
    folders: tuple[Path, ...]
    artifacts: dict[RunRecords, tuple[int, ...]]

    def size(self) -> int:
        """Returns how many bytes become free. A file with another name elsewhere stays on the disk."""
        names: dict[tuple[int, int], int] = {}
        freed = 0
        for path in _files(self.folders):
            status = path.lstat()
            key = status.st_dev, status.st_ino
            names[key] = names.get(key, 0) + 1
            freed += status.st_size if names[key] == status.st_nlink else 0
        return freed

    def carry_out(self) -> None:
        """Removes the files. If it is killed in the middle, the next plan has the rest."""
        for records, ids in self.artifacts.items():
            _mark_deleted(records, ids)
        for folder in self.folders:
            remove_aside(folder)

    def in_words(self) -> str:
        """Returns one line."""
        if not (self.runs or self.versions or self.folders):
            return "nothing"
        versions = f" ({', '.join(map(str, self.versions))})" if self.versions else ""
        return (
            f"runs: {len(self.runs):,}, versions: {len(self.versions):,}{versions}, folders: {len(self.folders):,}; "
            f"{self.size() / 1e6:,.1f} MB"
        )


def plan(folder: RunFolder, keep: int) -> Plan:
    """Returns what is to be removed if `keep` runs and versions stay. The caller holds the folder.

    Raises:
        ValueError: If `keep` is less than 1, or the record of the runs cannot be read.
    """
    if keep < 1:
        raise ValueError(f"--keep: expected at least 1. Received: {keep}")
    versions = scan(str(folder.serving)) if folder.serving.is_dir() else {}
    old = old_versions(folder.serving, keep) if versions else {}
    gone_versions = sorted(old)
    served: int | None = None
    folders = [*_half_gone(folder), *(Path(versions[number]) for number in gone_versions)]
    runs: tuple[str, ...] = ()
    artifacts: dict[RunRecords, tuple[int, ...]] = {}
    for records in (RunRecords.of(folder), RunRecords.of(folder, refreshes=True)):
        if records.exist():
            recorded = read_runs(records)
            push = pushed_as(folder.serving, max(versions), pushes(recorded)) if versions else None
            gone, ids, outputs = _of_pipeline(records.pipeline_root, recorded, keep, push)
            runs, artifacts[records] = (*runs, *gone), ids
            folders += outputs
            served = served if records.is_of_refreshes else push  # a refresh publishes no results
    folders += _published(folder, keep, served)
    return Plan(runs, tuple(gone_versions), tuple(folders), artifacts)


def kept_runs(runs: list[RecordedRun], keep: int, push: int | None) -> list[RecordedRun]:
    """Returns the last `keep` runs, and the run that pushed the served model.

    Args:
        runs: All runs, oldest first.
        keep: How many stay.
        push: Number under which the served model was pushed; None if none is served.
    """
    of_served = {run.run_id for run in runs if run.outcome != "unchanged" and run.version == str(push)}
    return [run for place, run in enumerate(runs, 1) if place > len(runs) - keep or run.run_id in of_served]


def _of_pipeline(
    root: Path, runs: list[RecordedRun], keep: int, push: int | None
) -> tuple[list[str], tuple[int, ...], list[Path]]:
    kept = kept_runs(runs, keep, push)
    artifacts = {number for run in kept for number in run.artifacts}
    executions = {number for run in kept for number in run.executions}
    places = {place_of(run.artifacts[number]) for run in kept for number in run.artifacts}
    # Of these runs alone: other folders may use the database, too.
    every = {number: artifact for run in runs for number, artifact in run.artifacts.items()}
    deleted = metadata_store_pb2.Artifact.DELETED
    ids = tuple(number for number, a in sorted(every.items()) if number not in artifacts and a.state != deleted)
    kept_ids, going = {run.run_id for run in kept}, set(ids)
    gone = [run.run_id for run in runs if run.run_id not in kept_ids and not going.isdisjoint(run.artifacts)]
    return gone, ids, list(_outputs(root, places, executions))


def _outputs(root: Path, kept: set[tuple[str, ...]], executions: set[int]) -> Iterator[Path]:
    """Yields the folders of artifacts to remove, and those of killed runs, which ML Metadata may not know."""
    for path in sorted(root.glob("*/*/*")):
        component, output, number = path.parts[-3:]
        if output != ".system" and _is_number(number) and (component, output, number) not in kept:
            yield path
    for path in sorted(root.glob("*/.system/executor_execution/*")):
        if _is_number(path.name) and int(path.name) not in executions:
            yield path


def _half_gone(folder: RunFolder) -> list[Path]:
    """Returns the folders that a killed run had begun to remove."""
    homes = [home / folder.pipeline_root.name for home in (folder.home, folder.home / "refresh")]
    outputs = [
        path for home in homes for pattern in ("*/*", "*/.system/executor_execution") for path in home.glob(pattern)
    ]
    return [path for parent in (folder.serving, folder.home / "history", *outputs) if (path := parent / GOING).is_dir()]


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _published(folder: RunFolder, keep: int, served: int | None) -> list[Path]:
    """Returns the folders of the history to remove: all but the last ones and the folder of the served model."""
    history = folder.home / "history"
    found = sorted(path for path in history.glob("[!.]*") if path.is_dir() and not path.is_symlink())
    latest = os.path.realpath(folder.home / "latest")
    return [
        path
        for path in found[:-keep]
        if os.path.realpath(path) != latest and (served is None or published_version(path) != str(served))
    ]


def published_version(published: Path) -> str | None:
    """Returns the model version of a folder of the history; None where it names none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((published / "manifest.json").read_text(encoding="utf-8"))["model"]["version"])
    return None


def _mark_deleted(records: RunRecords, ids: tuple[int, ...]) -> None:
    if not ids:
        return
    store = records.open()
    found = store.get_artifacts_by_id(list(ids))
    for artifact in found:
        artifact.state = metadata_store_pb2.Artifact.DELETED
    store.put_artifacts(found)


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for top in folders:
        for folder, _, names in os.walk(top):
            yield from (Path(folder, name) for name in names)
