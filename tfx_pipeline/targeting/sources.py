"""The whole step on Parquet files: what the pipeline component and the command line call."""

import glob
import posixpath

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.sinks import WriteTargets
from tfx_pipeline.targeting.transforms import Targeting, TargetListeners


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

    Returns:
        The `Targeting` that is written.

    Raises:
        FileNotFoundError: An input has no file.
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
        name: pipeline | f"Read {name}" >> beam.io.ReadFromParquetBatched(parquet_pattern(path, name))
        for name, path in given.items()
        if path is not None
    }
    targeting = inputs | "TargetListeners" >> TargetListeners(config)
    _ = targeting | "WriteTargets" >> WriteTargets(output, config)
    return targeting


def parquet_pattern(path: str, name: str) -> str:
    """A file or pattern as it is, a folder as the Parquet files in it; FileNotFoundError if there are none.

    What is there under the very name is meant, also where the name could be a pattern: `plays[1].parquet`.
    """
    named = glob.escape(path) if FileSystems.exists(path) else path
    for pattern in (posixpath.join(named, "*.parquet"), named):
        found = FileSystems.match([pattern])[0].metadata_list
        if any(item.size_in_bytes for item in found) and not (pattern == named and _is_folder(path, found)):
            return pattern
    raise FileNotFoundError(f"`{name}` must name a Parquet file, a folder of them or a pattern. Received: {path}")


def _is_folder(path: str, found: list) -> bool:
    return len(found) == 1 and found[0].path.rstrip("/") == path.rstrip("/") and not path.endswith(".parquet")
