"""The demo: a run, then matches and listeners of new songs from the model that it serves."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tfx_pipeline import contract
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.local_run.checked_input import check_input
from tfx_pipeline.local_run.reported_run import read_config, run_pipeline
from tfx_pipeline.local_run.request import Request
from tfx_pipeline.runtime.console import Console, stop_with_message
from tfx_pipeline.runtime.keras_backend import use_tensorflow
from tfx_pipeline.runtime.run_folder import RunFolder

if TYPE_CHECKING:
    from tfx_pipeline.config import PipelineConfig
    from tfx_pipeline.reports.demo_report import DemoReport

_SIMULATED_SONGS, _SIMULATED_USERS, _SIMULATED_PLAYS = 1200, 600, 48_000
_SHOWN_SONGS, _SHOWN_MATCHES, _SHOWN_LISTENERS = 3, 10, 5
_READY = re.compile(r"(?:localhost|127\.0\.0\.1):(\d+)")


def run_demo(request: Request, folder: RunFolder, data: Location | None, console: Console) -> int:
    """Runs the demo and prints its answers.

    Args:
        request: What the run reads.
        folder: The run's folder.
        data: The folder that the user named; None for the simulated catalogue.
        console: Where the lines go.

    Returns:
        The exit code: 0, or 1 if no model was good enough to serve.

    Raises:
        StoppedError: If the pipeline stopped before its end.
        ValueError: If the settings, the folders or the data cannot be used.
    """
    request.training_needs()  # raises before any work if the settings file cannot be used
    with folder.for_this_run("OUT", data):
        use_tensorflow()
        if data is None:
            _simulate(console, folder)
        catalogue = check_input(request, folder, console)
        console.say("\nPipeline (loading TensorFlow Extended takes half a minute)")
        config = _with_targets(read_config(request, folder, console), catalogue.num_new)
        return _run(console, folder, catalogue, config)


def _simulate(console: Console, folder: RunFolder) -> None:
    if folder.simulated.is_dir():
        console.say(f"Simulated catalogue: {folder.simulated} (made earlier)")
        return
    console.say("Simulating a catalogue ...")
    with console.output_to_log(folder.log):
        from tfx_pipeline.datasets.simulate import simulate

        simulate(folder.simulated, songs=_SIMULATED_SONGS, users=_SIMULATED_USERS, plays=_SIMULATED_PLAYS)


def _with_targets(config: PipelineConfig, num_new: int | None) -> PipelineConfig:
    """Returns settings that give some songs targets: test songs, where the data has no new song."""
    from tfx_pipeline.contract.splits import NEW, TEST

    if num_new == 0 and config.targeting.target_splits == (NEW,):
        return replace(config, targeting=replace(config.targeting, target_splits=(NEW, TEST)))
    return config


def _run(console: Console, folder: RunFolder, catalogue: contract.Catalogue, config: PipelineConfig) -> int:
    with console.output_to_log(folder.log), stop_with_message(folder.log):
        record = run_pipeline(folder, catalogue, config, console)
        from tfx_pipeline.reports.demo_report import DemoReport

        report = DemoReport.read(record, folder)
        if report.served is None:
            console.say("\nNo model was pushed:")
            for reason in report.refused_because():
                console.say(f"  {reason}")
        else:
            _ask(report, folder, console)
        console.say(report.table())
        console.say(report.places())
    return 0 if report.served else 1


def _ask(report: DemoReport, folder: RunFolder, console: Console) -> None:
    with _server(folder) as target:
        console.say(f"\nAsking the model server at {target} about new songs")
        for lines in report.songs(target, _SHOWN_SONGS, _SHOWN_MATCHES, _SHOWN_LISTENERS):
            console.say(lines)


@contextmanager
def _server(folder: RunFolder) -> Iterator[str]:
    """Runs the embedded server in a process of its own and yields its host:port."""
    command = [sys.executable, "-m", "serving.server", "--port=0", "--model_name=bcl"]
    process = subprocess.Popen(
        [*command, f"--model_base_path={folder.serving}"], stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if ready := _READY.search(line):
                yield f"localhost:{ready[1]}"
                break
        else:
            raise RuntimeError(f"the model server ended with exit code {process.wait()}; see {folder.log}")
    finally:
        process.terminate()
        process.wait()
