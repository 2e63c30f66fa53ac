"""The whole step from Parquet files to targets, as the command runs it."""

import glob
import posixpath
from collections.abc import Collection
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from tfx_pipeline.columnar.parquet_stream import read_table
from tfx_pipeline.columnar.reading import ReadParquet
from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.tables import refuse_unfinished
from tfx_pipeline.targeting.beam.target_listeners import Targeting, TargetListeners
from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.data.sinks import WriteTargets
from tfx_pipeline.targeting.data.takedown import without_songs


def target_listeners(
    pipeline: beam.Pipeline,
    *,
    catalogue: str,
    matches: str,
    plays: str,
    output: str,
    config: TargetingConfig | None = None,
    listeners: str | None = None,
    exclusions: str | None = None,
    taken_down: Collection[str] = (),
    names: Names = PLAIN,
) -> Targeting:
    """Adds the targeting step to a Beam pipeline: Parquet files in, targets and summary out.

    Call it with the pipeline of a TFX Beam component or any other; nothing runs before the pipeline does. Afterwards
    `read_targets(output)` and `read_summary(output)` give the tables, `read_marker(output)` the counts of the run.

    Args:
        pipeline: The Beam pipeline.
        catalogue: Parquet file, folder of Parquet files or pattern with song_id, split, embedding, candidate_embedding.
        matches: The same with song_id, match_ids, match_scores.
        plays: The same with user_id, song_id and optionally plays.
        output: Folder for the result, see `sinks`.
        config: Settings; default `TargetingConfig()`.
        listeners: Optional table user_id, embedding in place of vectors formed from plays.
        exclusions: Optional table user_id, song_id; a null song_id excludes the listener from all songs.
        taken_down: Ids of songs that are neither targeted nor a reason to target, whatever the tables say.
        names: How plays, listeners and exclusions call their columns.

    Returns:
        The `Targeting` that is written.

    Raises:
        FileNotFoundError: If an input has no file.
    """
    config = config or TargetingConfig()
    given = {
        "catalogue": catalogue,
        "matches": matches,
        "plays": plays,
        "listeners": listeners,
        "exclusions": exclusions,
    }
    inputs = {
        name: pipeline | f"Read {name}" >> ReadParquet(parquet_pattern(path, name))
        for name, path in given.items()
        if path is not None
    }
    for name in {"plays", "listeners", "exclusions"} & inputs.keys() if names.mapped else ():
        mapped = dict(names.mapped)
        inputs[name] |= f"Rename columns of {name}" >> beam.Map(_renamed, mapped).with_output_types(pa.Table)
    targeting = without_songs(inputs, taken_down) | "TargetListeners" >> TargetListeners(config)
    _ = targeting | "WriteTargets" >> WriteTargets(output, config)
    return targeting


def _renamed(table: pa.Table, mapped: dict[str, str]) -> pa.Table:
    return table.rename_columns([mapped.get(name, name) for name in table.column_names])


def parquet_pattern(path: str, name: str) -> str:
    """Returns a pattern of Parquet files: of a folder, those below it.

    A file that exists under this very name is meant, even where the name could be a pattern: `plays[1].parquet`.

    Args:
        path: A file, a folder or a pattern.
        name: Name of the table, for the message.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    refuse_unfinished(Path(path))
    named = glob.escape(path) if FileSystems.exists(path) else path
    for pattern in (posixpath.join(named, "**.parquet"), named):
        found = FileSystems.match([pattern])[0].metadata_list
        if any(item.size_in_bytes for item in found) and not (pattern == named and _is_folder(path, found)):
            return pattern
    raise FileNotFoundError(f"`{name}` must name a Parquet file, a folder of them or a pattern. Received: {path}")


def _is_folder(path: str, found: list[Any]) -> bool:
    return len(found) == 1 and found[0].path.rstrip("/") == path.rstrip("/") and not path.endswith(".parquet")


def song_ids(path: str, name: str) -> frozenset[str]:
    """Returns the song_id of every row.

    Args:
        path: A file, a folder or a pattern.
        name: Name of the table, for the message.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    found: set[str] = set()
    for item in FileSystems.match([parquet_pattern(path, name)])[0].metadata_list:
        with FileSystems.open(item.path) as stream:
            found.update(read_table(stream, columns=[SONG_ID])[SONG_ID].cast(pa.string()).to_pylist())
    return frozenset(found)
