r"""Command line of the targeting step: exported embeddings, matches and plays in, target listeners out.

    python -m tfx_pipeline.target --catalogue embeddings --matches matches --plays plays.parquet \
        --output targets --rule hybrid --listeners-per-song 200

Every setting of `TargetingConfig` is a flag; what the command does not know goes to Beam as a pipeline option. Ends
with exit code 2 and one message on bad input, before or during the run; nothing of it counts then, and `read_targets`
gives what an earlier run wrote.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tfx_pipeline.runtime.console import import_quietly, write_text
from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("What an earlier run wrote still holds.")  # before Beam, which takes seconds

import_quietly("apache_beam")

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from tfx_pipeline.contract.column_names import ColumnNames, Names
from tfx_pipeline.contract.id_lists import read_ids
from tfx_pipeline.targeting import TargetingConfig, target_listeners
from tfx_pipeline.targeting.data.exclusions import as_parquet
from tfx_pipeline.targeting.data.sources import song_ids
from tfx_pipeline.targeting.run_summary import run_summary
from tfx_pipeline.targeting.running import first_message, output_folder, pipeline_options, run_quietly
from tfx_pipeline.targeting.setting_flags import add_setting_flags, given_settings

_INPUTS = {
    "catalogue": "song_id, split, embedding, candidate_embedding",
    "matches": "song_id, match_ids, match_scores",
    "plays": "user_id, song_id and optionally plays",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the step.

    Args:
        arguments: Arguments of the command; default those of the process.

    Returns:
        The exit code: 0, or 2 for bad input.
    """
    known, beam_arguments = _parser().parse_known_args(arguments)
    try:
        options = pipeline_options(beam_arguments)
        config = TargetingConfig(**given_settings(known))
        columns = ColumnNames.read(known.settings)
        with output_folder(known.output):
            _run(known, config, options, columns)
    except Exception as error:
        sys.stderr.write(f"{first_message(error)}\n")
        return 2
    write_text(run_summary(known.output))
    return 0


def _run(known: argparse.Namespace, config: TargetingConfig, options: PipelineOptions, columns: ColumnNames) -> None:
    with TemporaryDirectory(prefix="exclusions-") as aside:
        if known.exclusions is not None:
            file = Path(aside) / "exclusions.parquet"
            known.exclusions = as_parquet(known.exclusions, file, columns.of("plays"))
        _run_pipeline(known, config, options, columns)


def _run_pipeline(
    known: argparse.Namespace, config: TargetingConfig, options: PipelineOptions, columns: ColumnNames
) -> None:
    pipeline = beam.Pipeline(options=options)
    target_listeners(
        pipeline,
        catalogue=known.catalogue,
        matches=known.matches,
        plays=known.plays,
        output=known.output,
        config=config,
        listeners=known.listener_vectors,
        exclusions=known.exclusions,
        taken_down=_taken_down(known, columns.of("songs")),
        names=columns.of("plays"),
    )
    run_quietly(pipeline)


def _taken_down(known: argparse.Namespace, names: Names) -> frozenset[str]:
    if known.takedown is None:
        return frozenset()
    songs = song_ids(known.catalogue, "catalogue")
    return read_ids(known.takedown, names=names).meant(songs, "the catalogue", ignore_missing=known.ignore_missing)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.target", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name, columns in _INPUTS.items():
        parser.add_argument(f"--{name}", required=True, help=f"Parquet file, folder or pattern: {columns}")
    parser.add_argument(
        "--listener-vectors",
        help="Parquet file, folder or pattern: user_id, embedding (default: vectors are formed from plays)",
    )
    parser.add_argument(
        "--exclusions", help="table of user_id, song_id (null: every song), or list of user ids (default: none)"
    )
    parser.add_argument(
        "--takedown", type=Path, help="list of ids of songs that are neither targeted nor a reason (default: none)"
    )
    parser.add_argument("--ignore-missing", action="store_true", help="ids of --takedown may be unknown")
    parser.add_argument(
        "--settings",
        type=Path,
        help="JSON file of settings whose `columns` names those of plays and lists (default: none)",
    )
    parser.add_argument("--output", required=True, help="folder for targets, summary and _SUCCESS")
    add_setting_flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
