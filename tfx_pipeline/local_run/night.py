"""One run for a scheduler: the pipeline, or a check of the data alone, and what goes afterwards."""

from __future__ import annotations

import shutil
from typing import Any

from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.local_run.checked_input import check_input, describe
from tfx_pipeline.local_run.reported_run import read_config, run_pipeline
from tfx_pipeline.local_run.request import Request
from tfx_pipeline.reports.run_outcome import Outcome, of_data_gate, of_finished, of_stopped
from tfx_pipeline.runtime.beam_options import beam_options
from tfx_pipeline.runtime.console import Console, StoppedError, stop_with_message
from tfx_pipeline.runtime.engine_check import check_engine
from tfx_pipeline.runtime.keras_backend import use_tensorflow
from tfx_pipeline.runtime.run_folder import RunFolder


def run_night(request: Request, folder: RunFolder, console: Console, *, until: float | None) -> Outcome:
    """Runs the pipeline in a folder that the caller holds, and returns its outcome.

    Args:
        request: What the run reads.
        folder: The run's folder.
        console: Where the lines go.
        until: Time of `time.monotonic` after which no further component starts; None for no end.

    Raises:
        ValueError: If the settings, the data or the Beam engine cannot be used.
    """
    use_tensorflow()
    catalogue = check_input(request, folder, console)
    config = read_config(request, folder, console)
    with console.output_to_log(folder.log):
        check_engine(beam_options(), folder.home)
    try:
        with console.output_to_log(folder.log), stop_with_message(folder.log):
            from tfx_pipeline.gates.data_drift import DataGateError

            try:
                run_pipeline(folder, catalogue, config, console, until=until)
            except DataGateError as error:
                return of_data_gate(folder, error)
            return of_finished(folder)
    except StoppedError as error:
        return of_stopped(folder, str(error), error.exit_code)


def check_only(request: Request, folder: RunFolder, console: Console) -> Outcome:
    """Checks the data as a run does, in a folder that is removed afterwards.

    Raises:
        ValueError: If the settings or the data cannot be used.
    """
    RunRecords.of(folder).check()
    aside = folder.home / ".dry_run"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        catalogue = request.prepare(aside / "input")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    console.say(describe(catalogue))
    return Outcome("checked")


def prune(folder: RunFolder, keep: int, console: Console, *, dry_run: bool) -> dict[str, Any] | None:
    """Removes old runs and versions, also after a run that failed; returns what went, for the line of JSON.

    Where something cannot be removed, the console says why, None is returned, and the run's outcome stands.
    """
    from tfx_pipeline.history.pruning import plan

    try:
        found = plan(folder, keep)
        pruned = {
            "runs": list(found.runs),
            "versions": [str(number) for number in found.versions],
            "folders": len(found.folders),
            "bytes": found.size(),
            "dry_run": dry_run,
        }
        console.say(f"--keep {keep}, {'would go' if dry_run else 'gone'}: {found.in_words()}")
        if not dry_run:
            found.carry_out()
    except (ValueError, OSError, RuntimeError) as error:
        console.say(f"--keep {keep}: not all that should go is gone. {error}")
        return None
    return pruned
