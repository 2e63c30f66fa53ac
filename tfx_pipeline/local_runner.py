"""Runs the pipeline on this machine: `tfx pipeline create --engine local --pipeline_path <this file>`.

Environment variables bind the paths, because the tfx command passes no arguments:

BCL_DATA            folder with songs and plays, or its URI
BCL_RUN             folder for all that the run writes (default: runs/bcl)
BCL_SETTINGS        JSON file of settings (default: none; see `config.read_settings`)
BCL_WINDOW          how many of the latest spans of plays are read (default: all; see `contract.spans`)
BCL_BEAM            engine of the Beam steps (default: this process; see `runtime.beam_options`)
BCL_JOB_LIMIT       seconds that one step may run on that engine (default: no limit)
BCL_METADATA        database of the runs: mysql://USER@HOST/DATABASE or postgresql://USER@HOST/DATABASE (default: a
                    file in the folder of the run)
BCL_METADATA_PASSWORD_FILE, BCL_METADATA_PASSWORD   file with its password, or the password (default: none)
BCL_LISTENERS       table of listeners' vectors for the targeting (default: none; see `targeting.component`)
BCL_EXCLUSIONS      listeners without targets (default: none; see `targeting.data.exclusions`)
BCL_TAKEDOWN        list of songs to take down, for this run and all later ones (default: none; see `contract.id_lists`)
BCL_IGNORE_MISSING  1 if that list may hold unknown ids (default: 0)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tfx_pipeline.runtime.console import import_quietly
from tfx_pipeline.runtime.keras_backend import use_tensorflow
from tfx_pipeline.runtime.stopping import stop_on_signals, stop_with_tfx

if __name__ == "__main__":
    stop_on_signals()  # before the imports below, which take half a minute
    stop_with_tfx()
use_tensorflow()  # before TFX, which imports Keras
import_quietly("tfx_pipeline.local_run.pipeline_run")  # and with it TFX

# isort: split
from tfx_pipeline import contract
from tfx_pipeline.config import PipelineConfig, read_settings
from tfx_pipeline.contract.stores.location import Location, locate
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.local_run.pipeline_run import check_lists, run
from tfx_pipeline.outputs.publishing import outcome
from tfx_pipeline.removal.takedown import say_left_out, take_down_listed
from tfx_pipeline.runtime.beam_options import beam_options
from tfx_pipeline.runtime.console import Console, StoppedError, stop_with_message
from tfx_pipeline.runtime.engine_check import check_engine
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.tfx_extensions.progress import component_lines


def main() -> None:
    """Reads the environment, checks the input and runs."""
    data = os.environ.get("BCL_DATA")
    if not data:
        sys.stderr.write("BCL_DATA: expected the folder with songs.parquet and plays.parquet. Received: no value\n")
        sys.exit(2)
    folder = RunFolder.at(os.environ.get("BCL_RUN") or "runs/bcl")
    try:
        place = locate(data)
        with folder.for_this_run("BCL_RUN", place):
            _run(folder, place)
    except StoppedError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except (ValueError, OSError) as error:  # of the folders, the contract, the settings or the window
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def _run(folder: RunFolder, data: Location) -> None:
    settings = os.environ.get("BCL_SETTINGS")
    config = read_settings(Path(settings)) if settings else None
    window = _whole_number("BCL_WINDOW")
    check_lists()
    RunRecords.of(folder).begin(folder)  # a database that cannot be used is found before any work
    settled = config or PipelineConfig()
    training = contract.TrainingNeeds(settled.split, settled.audience, settled.evaluation, settled.transform)
    columns = settled.columns
    catalogue = contract.prepare(
        data, folder.input, window=window, training=training, columns=columns, config=settled.check
    )
    left_out = take_down_listed(folder, folder.input, columns.of("songs"))
    console = Console()
    if left_out:
        console.say(say_left_out(left_out))
    with console.output_to_log(folder.log):
        check_engine(beam_options(), folder.home)
    with console.output_to_log(folder.log), stop_with_message(folder.log), component_lines(console.say):
        line = run(folder, catalogue.fields, config)
    if line:
        console.say(line)
    console.say(outcome(folder))
    console.say(f"Log: {folder.log}")


def _whole_number(variable: str) -> int | None:
    given = os.environ.get(variable)
    if given and not given.isdecimal():
        raise ValueError(f"{variable}: expected a whole number. Received: {given!r}")
    return int(given) if given else None


if __name__ == "__main__":
    main()
