"""Reads what a run published: the rows of a song, without a table in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.text import on_one_line
from tfx_pipeline.outputs.schemas import MANIFEST, SCHEMA_VERSION, Table


class OutputsError(ValueError):
    """There is no published run, or it lacks what was asked for."""


@dataclass(frozen=True)
class PublishedRun:
    """What one run published.

    Attributes:
        folder: Its folder in the history: what `latest` was a link to when it was opened.
        manifest: Content of manifest.json.
    """

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def latest(cls, run: Path) -> PublishedRun:
        """Opens what the last run of a folder published.

        Raises:
            OutputsError: If none of its runs pushed a model, or the files are of another version of the schemas.
        """
        found = Path(os.path.realpath(run / "latest"))
        if not (found / MANIFEST).is_file():
            raise OutputsError(_nothing_there(run))
        return cls.at(found)

    @classmethod
    def at(cls, found: Path) -> PublishedRun:
        """Opens a folder of published tables, of a run or of a refresh.

        Raises:
            OutputsError: If it has no manifest, or the files are of another version of the schemas.
        """
        try:
            manifest = json.loads((found / MANIFEST).read_text(encoding="utf-8"))
        except OSError as error:
            raise OutputsError(f"{found / MANIFEST}: expected a manifest. Received: {error.strerror}") from error
        except ValueError as error:
            raise OutputsError(f"{found / MANIFEST}: expected JSON. Received: {error}") from error
        version = manifest.get("schema_version")
        if version != SCHEMA_VERSION:
            raise OutputsError(f"{found / MANIFEST}: expected schema_version {SCHEMA_VERSION}. Received: {version!r}.")
        return cls(found, manifest)

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return str(self.manifest["run_id"])

    def rows(self, table: Table, song_id: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Returns a song's rows of a table, in their order.

        Raises:
            OutputsError: If the table cannot be read.
        """
        try:
            return list(rows_of(self.folder / table.file, [song_id], columns))
        except (OSError, pa.ArrowException) as error:
            reason = on_one_line(str(error).splitlines()[0])
            raise OutputsError(f"{self.folder / table.file}: expected a published table. Received: {reason}") from error


def refreshes_of(run: Path, latest: PublishedRun) -> list[Path]:
    """Returns the folders in which refreshes of the model that the latest run pushed published, the last one first."""
    pushed = int(latest.manifest["model"]["version"])
    numbered = {int(path.name): path for path in (run / "refreshed").glob("*") if path.name.isdecimal()}
    return [numbered[number] for number in sorted(numbered, reverse=True) if number > pushed]


def rows_of(
    file: Path, song_ids: Collection[str], columns: Sequence[str] | None = None, *, key: str = SONG_ID
) -> Iterator[dict[str, Any]]:
    """Yields the rows of some songs, in the file's order. Of row groups that have none of them only ids are read."""
    wanted = pa.array(sorted(set(song_ids)), pa.string())
    with pq.ParquetFile(file) as parquet:
        for group in range(parquet.metadata.num_row_groups):
            ids = parquet.read_row_group(group, columns=[key], use_threads=False)[key]
            found = pc.is_in(ids, value_set=wanted)
            if pc.any(found).as_py():
                rows = parquet.read_row_group(group, columns=columns and list(columns), use_threads=False)
                yield from rows.filter(found).to_pylist()


def _nothing_there(run: Path) -> str:
    if not run.is_dir():
        return f"{run}: expected the folder of a run. Received: no such folder."
    manifests = sorted(run.glob(f"history/[!.]*/{MANIFEST}"))
    if not manifests:
        return f"{run}: expected the folder of a run, with `latest` in it. Received: a folder without."
    reasons = json.loads(manifests[-1].read_text(encoding="utf-8")).get("not_published_because") or ["none recorded"]
    return on_one_line(
        f"{run}: expected a run that pushed a model. Received: none; the last was refused: {'; '.join(reasons)}", None
    )
