"""Targets on disk: written whole or not at all, read back by song.

    <directory>/targets/part-00000-<run>.parquet   sorted by song and rank
    <directory>/summary/part-00000-<run>.parquet   one row per cold song
    <directory>/_SUCCESS                           JSON: shards, files, counts, settings

Cold songs are spread over parts by a hash of their id, so that one song lies in one file, in a run of rows that the
Parquet statistics find. A folder per song, Parquet's other way to partition, would be a million folders of a few
kilobytes for a million songs. The parts lie under `_partial-<run>` until all are there; `_SUCCESS` comes last, by
rename, and names the files that belong to the result. Until then the result of an earlier run stays the valid one.
"""

from __future__ import annotations

import glob
import json
import posixpath
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam import pvalue
from apache_beam.io.filesystems import FileSystems

from serving.files.whole_files import put_file
from tfx_pipeline.columnar.arrow import encode_ids
from tfx_pipeline.columnar.hashing import shard_of
from tfx_pipeline.columnar.parquet_stream import read_rows_of, read_table
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.targeting.beam.result_tables import SUMMARY, TARGETS
from tfx_pipeline.targeting.config import TargetingConfig

MARKER = "_SUCCESS"
_KINDS = ("targets", "summary")
_ROWS_PER_GROUP = 10_000

File = dict[str, Any]  # kind, shard, rows, name under the partial folder


class WriteTargets(beam.PTransform[Any, Any]):
    """Writes a `Targeting` to a directory and returns a PCollection with the content of its `_SUCCESS`.

    One run at a time may write to a directory.

    Args:
        directory: Local or remote folder.
        config: Settings, which `_SUCCESS` records.
    """

    def __init__(self, directory: str, config: TargetingConfig) -> None:
        super().__init__()
        self._directory = directory
        self._config = config

    def expand(self, targeting: Any) -> pvalue.PCollection[Any]:
        """Adds the steps to the pipeline."""
        run = uuid.uuid4().hex[:12]
        partial = posixpath.join(self._directory, f"_partial-{run}")
        files = [
            getattr(targeting, kind) | f"Write {kind}" >> beam.ParDo(_WritePart(kind, partial)).with_output_types(Any)
            for kind in _KINDS
        ]
        names = files | "Parts" >> beam.Flatten()
        return targeting.totals | "Commit" >> beam.Map(
            _commit, pvalue.AsList(names), self._directory, run, asdict(self._config)
        )


class _WritePart(beam.DoFn):
    def __init__(self, kind: str, partial: str) -> None:
        self._kind = kind
        self._partial = partial

    def process(self, element: tuple[int, pa.Table]) -> Iterator[File]:
        shard, table = element
        # A runner may work on a shard twice; each attempt has its own file and the one that counts is named downstream.
        name = f"{self._kind}-{shard:05d}-{uuid.uuid4().hex[:8]}.parquet"
        _make_folder(self._partial)
        with FileSystems.create(posixpath.join(self._partial, name)) as file:
            pq.write_table(table, file, row_group_size=_ROWS_PER_GROUP)
        yield {"kind": self._kind, "shard": shard, "rows": table.num_rows, "name": name}


def _commit(
    totals: dict[str, int], files: Sequence[File], directory: str, run: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """Moves the parts to their places, then makes them the result by writing the marker."""
    content: dict[str, Any] = {"settings": settings, "counts": totals, "shards": totals["song_shards"]}
    for kind in _KINDS:
        folder = posixpath.join(directory, kind)
        _make_folder(folder)
        content[kind] = {"rows": 0, "files": {}}
        for file in sorted((file for file in files if file["kind"] == kind), key=lambda file: file["shard"]):
            final = f"part-{file['shard']:05d}-{run}.parquet"
            source = posixpath.join(directory, f"_partial-{run}", file["name"])
            if FileSystems.exists(source):  # not so when a commit that was cut short is taken up again
                _replace(source, posixpath.join(folder, final))
            content[kind]["files"][str(file["shard"])] = final
            content[kind]["rows"] += file["rows"]
    aside = posixpath.join(directory, f"_partial-{run}", MARKER)
    _make_folder(posixpath.dirname(aside))
    with FileSystems.create(aside, mime_type="application/json") as stream:
        stream.write(json.dumps(content, indent=1, sort_keys=True).encode())
    _replace(aside, posixpath.join(directory, MARKER))
    _remove_leftovers(directory, run, content)
    return content


def read_marker(directory: str) -> dict[str, Any]:
    """Returns the content of `_SUCCESS`.

    Args:
        directory: Where `WriteTargets` wrote.

    Raises:
        FileNotFoundError: If no run has finished there.
    """
    path = posixpath.join(directory, MARKER)
    if not FileSystems.exists(path):
        raise FileNotFoundError(
            f"`directory` must hold {MARKER}, which a finished targeting run leaves. Received: {directory}"
        )
    with FileSystems.open(path) as stream:
        content: dict[str, Any] = json.loads(stream.read())
    return content


def read_targets(directory: str, song_ids: Sequence[str] | None = None) -> pa.Table:
    """Returns targets sorted by part, song and rank.

    Args:
        directory: Where `WriteTargets` wrote.
        song_ids: Songs whose targets are wanted: only the files they lie in are read. Default: all.
    """
    return _read(directory, "targets", song_ids)


def read_summary(directory: str, song_ids: Sequence[str] | None = None) -> pa.Table:
    """Returns one row for each cold song.

    Args:
        directory: Where `WriteTargets` wrote.
        song_ids: Songs whose rows are wanted. Default: all.
    """
    return _read(directory, "summary", song_ids)


def part_files(directory: str, kind: Literal["targets", "summary"]) -> list[str]:
    """Returns the paths of the files that make up one table of the result, in the order of their parts.

    Args:
        directory: Where `WriteTargets` wrote.
        kind: Which table.
    """
    files = read_marker(directory)[kind]["files"]
    return [posixpath.join(directory, kind, files[shard]) for shard in sorted(files, key=int)]


def _read(directory: str, kind: str, song_ids: Sequence[str] | None) -> pa.Table:
    marker = read_marker(directory)
    files = marker[kind]["files"]
    shards = sorted(files, key=int)
    if song_ids is not None:
        wanted = set(shard_of(encode_ids(list(song_ids), "song_ids"), marker["shards"]).tolist())
        shards = [shard for shard in shards if int(shard) in wanted]
    schema = TARGETS if kind == "targets" else SUMMARY
    parts = [schema.empty_table()]
    for shard in shards:
        with FileSystems.open(posixpath.join(directory, kind, files[shard])) as stream:
            rows = read_table(stream) if song_ids is None else read_rows_of(stream, SONG_ID, list(song_ids))
            parts.append(rows.cast(schema))
    return pa.concat_tables(parts)


def _make_folder(path: str) -> None:
    try:
        FileSystems.mkdirs(path)
    except OSError:
        if not FileSystems.exists(path):
            raise


def _replace(source: str, final: str) -> None:
    """Renames over an earlier file."""
    if FileSystems.get_scheme(final) is None:
        put_file(source, final)
    else:
        FileSystems.rename([source], [final])


def _remove_leftovers(directory: str, run: str, content: dict[str, Any]) -> None:
    """Removes parts of earlier runs, finished or not."""
    patterns = glob.escape(directory)
    for kind in _KINDS:
        valid = set(content[kind]["files"].values())
        for found in FileSystems.match([posixpath.join(patterns, kind, "part-*.parquet")])[0].metadata_list:
            if posixpath.basename(found.path) not in valid:
                FileSystems.delete([glob.escape(found.path)])
    asides = FileSystems.match([posixpath.join(patterns, "_partial-*", "*")])[0].metadata_list
    folders = {posixpath.dirname(item.path) for item in asides} | {posixpath.join(directory, f"_partial-{run}")}
    for folder in sorted(folders):
        if FileSystems.get_scheme(folder) is None:  # Beam would take the name of a local folder for a pattern
            shutil.rmtree(folder, ignore_errors=True)
        elif FileSystems.exists(folder):
            FileSystems.delete([folder])
