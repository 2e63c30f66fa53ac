"""Runs the pipeline on this machine: `tfx pipeline create --engine local --pipeline_path <this file>`.

Environment variables bind the paths, because the tfx command passes no arguments: BCL_DATA is the folder with songs
and plays, BCL_RUN the folder for all that the run writes (default: runs/bcl), BCL_SETTINGS a JSON file of settings
(default: none; see `config.read_settings`), BCL_WINDOW how many of the latest spans of plays are read (default: all;
see `contract.spans`), BCL_BEAM the engine of the Beam steps (default: this process; see `beam_options`), BCL_LISTENERS
and BCL_EXCLUSIONS files for the targeting (default: none; see `targeting.component` and `targeting.data.exclusions`).
BCL_TAKEDOWN is a list of songs to take down, for this run and all later ones (default: none; see `id_lists`);
with BCL_IGNORE_MISSING=1 ids of it may be unknown.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from tfx_pipeline.runtime.console import import_quietly
from tfx_pipeline.runtime.keras_backend import use_tensorflow
from tfx_pipeline.runtime.stopping import end_with_tfx, heed_signals

if __name__ == "__main__":
    heed_signals()  # before the imports below, which take half a minute
    end_with_tfx()
use_tensorflow()  # before TFX, which imports Keras
import_quietly("tfx_pipeline.pipeline")  # and with it TFX

# isort: split
from tfx import v1 as tfx

from tfx_pipeline import contract
from tfx_pipeline.config import PipelineConfig, read_settings
from tfx_pipeline.history.run_record import RunRecord, last_run_id
from tfx_pipeline.history.served_again import serve_model_of_last_run
from tfx_pipeline.outputs.publishing import outcome, publish
from tfx_pipeline.outputs.run_result import RunResult
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.removal.takedown import admitted, say_left_out, take_down_listed
from tfx_pipeline.runtime.beam_options import beam_options
from tfx_pipeline.runtime.console import Console, StoppedError, stops_in_words
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.targeting.data.exclusions import as_parquet
from tfx_pipeline.targeting.data.forgotten import without_forgotten
from tfx_pipeline.tfx_extensions.progress import component_lines


def run(
    folder: RunFolder, fields: tuple[contract.SongField, ...], config: PipelineConfig | None = None, name: str = "bcl"
) -> str | None:
    """Runs the pipeline on the prepared input of `folder`, reusing what its cache holds, and publishes the outcome.

    Returns:
        A line where the data is that of an earlier run, and its model is served again, or why it is not.

    Raises:
        ContractError: If a file that the environment names for the targeting is not there, or every song of the
            catalogue was taken down.
    """
    config = config or PipelineConfig()
    before = last_run_id(folder.metadata)
    lists = {"listeners": _listener_table(folder), "exclusions": _exclusions(folder)}
    tfx.orchestration.LocalDagRunner().run(
        create_pipeline(
            pipeline_name=name,
            pipeline_root=folder.pipeline_root,
            data_root=admitted(folder),
            serving_dir=folder.serving,
            kept_statistics=folder.kept_statistics,
            fields=fields,
            config=config,
            listener_table=lists["listeners"],
            exclusions=lists["exclusions"],
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(folder.metadata)
            ),
            beam_pipeline_args=beam_options(),
        )
    )
    if last_run_id(folder.metadata) == before:  # `tfx pipeline create` read this file, and nothing ran
        return None
    served = serve_model_of_last_run(folder)
    if not served.is_left:
        publish(folder, RunResult.read(RunRecord.latest(folder.metadata)), dataclasses.asdict(config), lists)
    return served.line


def main() -> None:
    """Reads the environment, checks the input and runs."""
    data = os.environ.get("BCL_DATA")
    if not data:
        sys.stderr.write("BCL_DATA: expected the folder with songs.parquet and plays.parquet. Received: no value\n")
        sys.exit(2)
    folder = RunFolder.at(os.environ.get("BCL_RUN") or "runs/bcl")
    try:
        with folder.for_this_run("BCL_RUN", data=Path(data)):
            _run(folder, Path(data))
    except StoppedError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except (ValueError, OSError) as error:  # of the folders, the contract, the settings or the window
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def _run(folder: RunFolder, data: Path) -> None:
    settings = os.environ.get("BCL_SETTINGS")
    config = read_settings(Path(settings)) if settings else None
    window = _whole_number("BCL_WINDOW")
    _ = _file("BCL_LISTENERS"), _file("BCL_EXCLUSIONS")
    settled = config or PipelineConfig()
    training = contract.TrainingNeeds(settled.split, settled.audience, settled.evaluation, settled.transform)
    catalogue = contract.prepare(data, folder.input, window=window, training=training)
    left_out = take_down_listed(folder, folder.input)
    console = Console()
    if left_out:
        console.say(say_left_out(left_out))
    with console.chatter_to(folder.log), stops_in_words(folder.log), component_lines(console.say):
        said = run(folder, catalogue.fields, config)
    if said:
        console.say(said)
    console.say(outcome(folder))
    console.say(f"Log: {folder.log}")


def _exclusions(folder: RunFolder) -> Path | None:
    path = _file("BCL_EXCLUSIONS")
    if path is None:
        return None
    return without_forgotten(Path(as_parquet(str(path), folder.exclusions)), folder.exclusions)


def _listener_table(folder: RunFolder) -> Path | None:
    path = _file("BCL_LISTENERS")
    return None if path is None else without_forgotten(path, folder.listeners)


def _file(variable: str) -> Path | None:
    path = Path(os.environ[variable]).resolve() if os.environ.get(variable) else None
    if path is not None and not path.is_file():
        raise contract.ContractError(f"{variable}: expected a file. Received: {path}")
    return path


def _whole_number(variable: str) -> int | None:
    said = os.environ.get(variable)
    if said and not said.isdecimal():
        raise ValueError(f"{variable}: expected a whole number. Received: {said!r}")
    return int(said) if said else None


if __name__ == "__main__":
    main()
