"""Matches and target listeners of the songs that a refresh adds, by the rules of the run that pushed the model."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from serving.files.folder_lock import only_process_in
from serving.refresh.index import SONGS_AT_ONCE
from serving.refresh.saved_version import SavedIndex, SavedVersion
from tfx_pipeline import contract
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.prepare import recorded_names
from tfx_pipeline.contract.splits import NEW, WARM
from tfx_pipeline.evaluation.match_rows import MATCH_ROWS, match_row
from tfx_pipeline.index_refresh.new_songs import NewSongs
from tfx_pipeline.outputs.reading import OutputsError, PublishedRun
from tfx_pipeline.outputs.refreshed import Found
from tfx_pipeline.outputs.schemas import EMBEDDINGS
from tfx_pipeline.outputs.titles import Titles
from tfx_pipeline.runtime.beam_options import beam_options
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.runtime.settings_codec import from_values
from tfx_pipeline.targeting import TargetingConfig, read_summary, target_listeners
from tfx_pipeline.targeting.data.exclusions import as_parquet
from tfx_pipeline.targeting.data.takedown import drop_matches
from tfx_pipeline.targeting.running import first_message, run_quietly

_ROWS_PER_GROUP = 10_000


class TargetingError(ValueError):
    """The targeting failed; nothing was published."""


@dataclass(frozen=True)
class Rules:
    """The rules of the targeting in the last published run.

    Attributes:
        folder: Folder of the run.
        published: The published run.
        config: Settings of its targeting, with the weight that it chose.
        exclusions: File of listeners without targets; None where nobody is excluded.
        listeners: Table of listeners' vectors; None where plays give them.
    """

    folder: RunFolder
    published: PublishedRun
    config: TargetingConfig
    exclusions: Path | None
    listeners: Path | None

    @classmethod
    def of_run(cls, folder: RunFolder, exclusions: Path | None = None) -> Rules:
        """Reads the rules.

        Args:
            folder: Folder of the run.
            exclusions: File in place of that of the run.

        Raises:
            OutputsError: If the folder has no published run, or one without these rules.
            ContractError: If the run's plays, or a file that it was given, do not exist any more.
        """
        published = PublishedRun.latest(folder.home)
        targeting, settings = published.manifest.get("targeting"), published.manifest["settings"].get("targeting")
        if targeting is None or settings is None:
            raise OutputsError(
                f"{published.folder}: expected a manifest.json with the rules of the targeting. Received: one of an "
                "earlier version. Run the pipeline once more."
            )
        weight = {"count_weight": targeting["count_weight"], "target_splits": [NEW]}
        config = from_values(TargetingConfig, {**settings, **weight}, f"{published.folder}, manifest.json: settings")
        lists = {name: targeting[name] and folder.home / targeting[name] for name in ("exclusions", "listeners")}
        if exclusions is not None:
            lists["exclusions"] = exclusions
        for name, file in lists.items():
            if file is not None and not file.exists():
                remedy = "Name a list with --exclusions." if name == "exclusions" else ""
                raise broken(file, f"the {name} that the last run was given", "no such file", remedy=remedy)
        if not (folder.input / contract.PLAYS).is_file():
            raise broken(folder.input / contract.PLAYS, "the plays that the last run read", "no such file")
        return cls(folder, published, config, lists["exclusions"], lists["listeners"])


@contextmanager
def locked_rules(serving_dir: Path, exclusions: Path | None) -> Iterator[Rules]:
    """Yields the rules of the run whose folder `serving_dir` is, and holds the lock of that run meanwhile.

    The lock keeps runs from changing the plays, and `forget` from removing listeners.

    Raises:
        ValueError: If `serving_dir` is not the folder `serving` of a run.
        FolderError: If another process uses the run's folder.
        OutputsError: If no run was published, or its manifest lacks the rules.
        ContractError: If a file that the rules name does not exist any more.
    """
    folder = RunFolder.at(serving_dir.absolute().parent)
    if not folder.serving.is_dir() or not os.path.samefile(folder.serving, serving_dir):
        raise ValueError(
            f"--targets: expected SERVING_DIR to be the folder `serving` of a run. Received: {serving_dir}"
        )
    with only_process_in(folder.home, shown=f"--targets: {folder.home}"):
        yield Rules.of_run(folder, exclusions)


def find(
    rules: Rules, version: SavedVersion, index: SavedIndex, songs: NewSongs, added: Sequence[str], gone: Collection[str]
) -> Found:
    """Matches the songs that were added and finds their listeners.

    Args:
        rules: Rules of the targeting.
        version: The model, with the index as it was: songs are matched with that.
        index: The index as it will be: the songs that stay, then those of `added` in this order.
        songs: The file with the songs.
        added: Ids of the songs that were added.
        gone: Ids of songs that were taken down. No song is matched with them.

    Returns:
        Matches and targets, in files below the folder of the run.

    Raises:
        TargetingError: If the targeting fails.
    """
    work = Found.begin(rules.folder, version.path)
    rows = _by_the_model(version, songs, added)
    kept = len(index.ids) - len(added)
    names = index.names()
    matches = pa.Table.from_pylist([match_row(song, NEW, rows[song]) for song in added], MATCH_ROWS)
    pq.write_table(drop_matches(matches, sorted(gone)) if gone else matches, work.part("matches"))
    new = {
        SONG_ID: pa.array(added, pa.string()),
        "split": pa.array([NEW] * len(added)),
        "embedding": _lists(np.stack([rows[song]["embedding"] for song in added])),
        "candidate_embedding": _lists(index.embeddings[kept:]),
    }
    pq.write_table(pa.table(new, EMBEDDINGS.schema), work.part("embeddings"))
    # The targeting reads only the candidate embedding of a warm song.
    warm = _lists(index.embeddings[:kept])
    old = [pa.array(names[:kept], pa.string()), pa.array([WARM] * kept, pa.string()), warm, warm]
    with pq.ParquetWriter(work.catalogue, EMBEDDINGS.schema, compression="snappy") as writer:
        for table in (pa.table(old, EMBEDDINGS.schema), pa.table(new, EMBEDDINGS.schema)):
            writer.write_table(table, row_group_size=_ROWS_PER_GROUP)
    _target(rules, work, gone)
    titles = songs.titles().and_also(Titles.read(rules.folder.input / contract.SONGS))
    work.finish(rules.published, rules.config, titles, statuses=read_summary(str(work.targets))["status"].to_pylist())
    return work


def _by_the_model(version: SavedVersion, songs: NewSongs, added: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the embedding, the matches and the number of known fields of each song."""
    wanted, found = frozenset(added), {}
    pending: Iterator[tuple[str, bytes]] = (song for song in songs if song[0] in wanted)
    while batch := list(islice(pending, SONGS_AT_ONCE)):
        examples = [example for _, example in batch]
        outputs = version.run("match_examples", examples) | version.run("serving_default", examples)
        for row, (song_id, _) in enumerate(batch):
            found[song_id] = {name: values[row] for name, values in outputs.items()}
    return found


def _lists(vectors: npt.NDArray[np.floating[Any]]) -> pa.Array:
    offsets = pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1])
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.astype(np.float32).reshape(-1)))


def _target(rules: Rules, work: Found, gone: Collection[str]) -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    pipeline = beam.Pipeline(options=PipelineOptions(list(beam_options())))
    try:
        names = recorded_names(rules.folder.input).of("plays")
        exclusions = None if rules.exclusions is None else as_parquet(str(rules.exclusions), work.exclusions, names)
        target_listeners(
            pipeline,
            catalogue=str(work.catalogue),
            matches=str(work.part("matches")),
            plays=str(rules.folder.input / contract.PLAYS),
            output=str(work.targets),
            config=rules.config,
            listeners=None if rules.listeners is None else str(rules.listeners),
            exclusions=exclusions,
            taken_down=gone,
        )
        run_quietly(pipeline)
    except Exception as error:
        raise TargetingError(f"targets: {first_message(error)}") from error
