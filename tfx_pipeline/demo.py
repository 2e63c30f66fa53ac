"""From plays to target listeners on this machine, and the answers in plain words: `python -m tfx_pipeline.demo`."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.runtime.stopping import heed_signals

if __name__ == "__main__":
    heed_signals()  # before the imports below, which take a second

from tfx_pipeline import contract
from tfx_pipeline.one_run import Request, add_options, check_input, path, read_config, run_pipeline
from tfx_pipeline.runtime.console import Console, StoppedError, stops_in_words
from tfx_pipeline.runtime.keras_backend import use_tensorflow
from tfx_pipeline.runtime.run_folder import RunFolder

if TYPE_CHECKING:
    from tfx_pipeline.config import PipelineConfig

_SIMULATED_SONGS, _SIMULATED_USERS, _SIMULATED_PLAYS = 1200, 600, 48_000
_SHOWN_SONGS, _SHOWN_MATCHES, _SHOWN_LISTENERS = 3, 10, 5
_READY = re.compile(r"(?:localhost|127\.0\.0\.1):(\d+)")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit code: 0, 1 if no model was good enough to serve, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.demo", description=__doc__)
    parser.add_argument("--data", type=path, help="folder with songs and plays (default: a simulated catalogue)")
    parser.add_argument("--out", type=path, help="folder for all that is written (default: runs/<name of the data>)")
    add_options(parser)
    arguments = parser.parse_args(argv)
    console = Console()
    name = arguments.data.resolve().name if arguments.data else "simulated"
    folder = RunFolder.at(arguments.out or Path("runs") / name)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    request = Request.of(arguments, folder.simulated if arguments.data is None else None)
    try:
        request.training_needs()  # says at once that they cannot be used
        with folder.for_this_run("OUT", arguments.data):
            use_tensorflow()
            if arguments.data is None:
                _simulate(console, folder)
            catalogue = check_input(request, folder, console)
            console.say("\nPipeline (loading TensorFlow Extended takes half a minute)")
            config = _with_targets(read_config(request, folder, console), catalogue.num_new)
            return _run(console, folder, catalogue, config)
    except StoppedError as error:
        sys.stderr.write(f"\n{error}\n")
        return error.exit_code
    except (ValueError, OSError) as error:  # of the folders, the contract or the settings
        sys.stderr.write(f"{error}\n")
        return 2


def _simulate(console: Console, folder: RunFolder) -> None:
    if folder.simulated.is_dir():
        console.say(f"Simulated catalogue: {folder.simulated} (made earlier)")
        return
    console.say("Simulating a catalogue ...")
    with console.chatter_to(folder.log):
        from tfx_pipeline.datasets.simulate import simulate

        simulate(folder.simulated, songs=_SIMULATED_SONGS, users=_SIMULATED_USERS, plays=_SIMULATED_PLAYS)


def _with_targets(config: PipelineConfig, num_new: int | None) -> PipelineConfig:
    """Returns the settings of the run. Where the data has no new song, songs held out for the report get targets."""
    from tfx_pipeline.contract.splits import NEW, TEST

    if num_new == 0 and config.targeting.target_splits == (NEW,):
        return replace(config, targeting=replace(config.targeting, target_splits=(NEW, TEST)))
    return config


def _run(console: Console, folder: RunFolder, catalogue: contract.Catalogue, config: PipelineConfig) -> int:
    with console.chatter_to(folder.log), stops_in_words(folder.log):
        record = run_pipeline(folder, catalogue, config, console)
        from tfx_pipeline.reports.demo_report import DemoReport

        report = DemoReport.read(record, folder)
        if report.served is None:
            console.say("\nNo model was pushed:")
            for reason in report.refused_because():
                console.say(f"  {reason}")
        else:
            with _server(folder) as target:
                console.say(f"\nAsking the model server at {target} about new songs")
                for lines in report.songs(target, _SHOWN_SONGS, _SHOWN_MATCHES, _SHOWN_LISTENERS):
                    console.say(lines)
        console.say(report.table())
        console.say(report.places())
    return 0 if report.served else 1


@contextmanager
def _server(folder: RunFolder) -> Iterator[str]:
    """Runs the embedded server as a process of its own; gives host:port."""
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


if __name__ == "__main__":
    sys.exit(main())
