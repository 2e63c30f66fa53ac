"""From plays to target listeners on this machine, and the answers in plain words: `python -m tfx_pipeline.demo`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals()  # before the imports below, which take a second

from tfx_pipeline.contract.stores.location import locate
from tfx_pipeline.history.run_records import use_database
from tfx_pipeline.local_run.demo import run_demo
from tfx_pipeline.local_run.request import Request, add_options, path, place
from tfx_pipeline.runtime.console import Console, StoppedError
from tfx_pipeline.runtime.run_folder import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit code: 0, 1 if no model was good enough to serve, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.demo", description=__doc__)
    parser.add_argument(
        "--data", type=place, help="folder with songs and plays, or its URI (default: a simulated catalogue)"
    )
    parser.add_argument("--out", type=path, help="folder for all that is written (default: runs/<name of the data>)")
    add_options(parser)
    arguments = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        use_database(arguments.metadata)
        data = locate(arguments.data) if arguments.data else None
        folder = RunFolder.at(arguments.out or Path("runs") / (data.resolve().name if data else "simulated"))
        return run_demo(Request.of(arguments, data or folder.simulated), folder, data, Console())
    except StoppedError as error:
        sys.stderr.write(f"\n{error}\n")
        return error.exit_code
    except (ValueError, OSError) as error:  # of the folders, the contract or the settings
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
