"""Command line of the targeting step: exported embeddings, matches and plays in, target listeners out.

    python -m tfx_pipeline.target --catalogue embeddings --matches matches --plays plays.parquet \\
        --output targets --rule hybrid --listeners-per-song 200

Every setting of `TargetingConfig` is a flag; what the command does not know goes to Beam as a pipeline option. Ends
with exit code 2 and one message on bad input, before or during the run; nothing of it counts then, and `read_targets`
gives what an earlier run wrote.
"""

import argparse
import dataclasses
import shutil
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfx_pipeline.runtime.console import import_quietly, write_text
from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("What an earlier run wrote still holds.")  # before Beam, which takes seconds

import_quietly("apache_beam")

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, _BeamArgumentParser

from serving.files.folder_lock import only_process_in
from tfx_pipeline.contract.id_lists import read_ids
from tfx_pipeline.runtime.setting_texts import setting_texts
from tfx_pipeline.targeting import TargetingConfig, read_marker, read_summary, target_listeners
from tfx_pipeline.targeting.data.exclusions import as_parquet
from tfx_pipeline.targeting.data.sources import song_ids
from tfx_pipeline.targeting.running import first_message, run_quietly

_INPUTS = {
    "catalogue": "song_id, split, embedding, candidate_embedding",
    "matches": "song_id, match_ids, match_scores",
    "plays": "user_id, song_id and optionally plays",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the step; returns the exit code."""
    parser = _parser()
    known, beam_arguments = parser.parse_known_args(arguments)
    settings = {field.name: getattr(known, field.name) for field in dataclasses.fields(TargetingConfig)}
    try:
        _check_beam_arguments(beam_arguments)
        config = TargetingConfig.from_dict({name: value for name, value in settings.items() if value is not None})
        with _for_this_run(known.output):
            _run(known, config, beam_arguments)
    except Exception as error:
        sys.stderr.write(f"{first_message(error)}\n")
        return 2
    write_text(_report(known.output))
    return 0


@contextmanager
def _for_this_run(output: str) -> Iterator[None]:
    """Holds the output folder where it is a local one, and clears away what a run that stops has begun there."""
    if FileSystems.get_scheme(output) is not None:
        yield
        return
    with only_process_in(output, shown=f"--output: {output}"):
        try:
            yield
        finally:
            for partial in Path(output).glob("_partial-*"):
                shutil.rmtree(partial, ignore_errors=True)


def _check_beam_arguments(arguments: Sequence[str]) -> None:
    """Refuses what neither this command nor Beam knows: Beam would pass over a mistyped flag."""
    beam_parser = _BeamArgumentParser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(beam_parser)
    _, unknown = beam_parser.parse_known_args(list(arguments))
    if unknown:
        raise ValueError(f"arguments: expected those of --help or pipeline options of Beam. Received: {unknown}")


def _run(known: argparse.Namespace, config: TargetingConfig, beam_arguments: Sequence[str]) -> None:
    if known.exclusions is None:
        _run_pipeline(known, config, beam_arguments, None)
        return
    with TemporaryDirectory(prefix="exclusions-") as aside:
        exclusions = as_parquet(known.exclusions, Path(aside) / "exclusions.parquet")
        _run_pipeline(known, config, beam_arguments, exclusions)


def _run_pipeline(
    known: argparse.Namespace, config: TargetingConfig, beam_arguments: Sequence[str], exclusions: str | None
) -> None:
    options = PipelineOptions(list(beam_arguments))
    if options.view_as(StandardOptions).runner is None:
        # Beam's DirectRunner would first try to download another runner.
        options.view_as(StandardOptions).runner = "FnApiRunner"
    pipeline = beam.Pipeline(options=options)
    target_listeners(
        pipeline,
        catalogue=known.catalogue,
        matches=known.matches,
        plays=known.plays,
        output=known.output,
        config=config,
        listeners=known.listener_vectors,
        exclusions=exclusions,
        taken_down=_taken_down(known),
    )
    run_quietly(pipeline)


def _taken_down(known: argparse.Namespace) -> frozenset[str]:
    if known.takedown is None:
        return frozenset()
    songs = song_ids(known.catalogue, "catalogue")
    return read_ids(known.takedown).meant(songs, "the catalogue", ignore_missing=known.ignore_missing)


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
    parser.add_argument("--output", required=True, help="folder for targets, summary and _SUCCESS")
    texts = setting_texts(TargetingConfig)
    for field in dataclasses.fields(TargetingConfig):
        parser.add_argument(f"--{field.name.replace('_', '-')}", **_flag(field, texts[field.name]))
    return parser


def _flag(field: dataclasses.Field, text: str) -> dict[str, Any]:
    """How argparse reads a setting; a flag that is not given stays None, so that the config's default holds."""
    default = " ".join(field.default) if isinstance(field.default, tuple) else str(field.default).lower()
    shown = {"help": f"{text.rstrip('.')} (default: {default})".replace("%", "%%"), "default": None}
    if typing.get_origin(field.type) is tuple:
        return {**shown, "nargs": "+", "metavar": "SPLIT"}
    kinds = _kinds(field.type)
    number = float if float in kinds else int
    if bool in kinds:
        return {**shown, "action": argparse.BooleanOptionalAction}
    if str in kinds and number in kinds:
        return {**shown, "type": lambda text: text if text == "auto" else number(text), "metavar": "NUMBER|auto"}
    if str in kinds:
        return {**shown, "metavar": f"{{{','.join(typing.get_args(field.type))}}}"}
    return {**shown, "type": number, "metavar": "NUMBER"}


def _kinds(annotation: Any) -> set[type]:
    """The plain types that an annotation allows."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return {kind for part in typing.get_args(annotation) for kind in _kinds(part)}
    if typing.get_origin(annotation) is typing.Literal:
        return {type(value) for value in typing.get_args(annotation)}
    return {annotation}


def _report(output: str) -> str:
    counts = read_marker(output)["counts"]
    summary = read_summary(output)
    statuses: dict[str, int] = {}
    for status in summary["status"].to_pylist():
        statuses[status] = statuses.get(status, 0) + 1
    targets = sum(summary["targets"].to_pylist())
    lines = [f"{counts.get('cold_songs', 0)} cold songs in, {targets} targets out, written to {output}"]
    lines += [f"  {number} songs: {status}" for status, number in sorted(statuses.items())]
    lines += [f"  {name.replace('_', ' ')}: {value}" for name, value in counts.items()]
    if counts.get("exclusions_of_unknown_listeners") and not counts.get("listeners_excluded"):
        lines.append(
            "  note: no listener excluded from every song has plays here. Are the exclusions of these listeners?"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
