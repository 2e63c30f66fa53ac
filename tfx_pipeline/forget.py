"""Forget listeners: `python -m tfx_pipeline.forget RUN --users FILE [--data DIR] [--dry-run]`.

Removes them from every file that a run keeps, and leaves their plays out of whatever later runs in RUN read. Then it
searches all files for them. Started again after it was stopped, it goes on. No printed line holds an id.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("Every file is whole. Start the command again: it goes on.")  # before the imports below

from tfx_pipeline.local_run.request import place
from tfx_pipeline.removal.forgetting import check_folders, forget
from tfx_pipeline.runtime.run_folder import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Forgets; returns the exit code: 0, or 2 where a file still holds an id or the input is bad."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        data = check_folders(arguments.run, arguments.data)
        folder = RunFolder.at(arguments.run)
        with folder.for_this_run("RUN", data):
            left = forget(folder, arguments.users, data, dry_run=arguments.dry_run)
    except (ValueError, OSError) as error:  # of the folders, the lists or a file that cannot be written
        sys.stderr.write(f"{error}\n")
        return 2
    if left:
        sys.stderr.write("".join(f"{file}: {why}.\n" for file, why in left.items()))
        sys.stderr.write(f"{len(left):,} files may still hold a listener. Remove them, or mend them and start again.\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.forget", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the runs, as --out of the demo or BCL_RUN")
    parser.add_argument("--users", type=Path, required=True, help="list of user ids: text, CSV or Parquet")
    parser.add_argument("--data", type=place, help="folder of songs and plays to change as well (default: none)")
    parser.add_argument("--dry-run", action="store_true", help="say which files would change, and change none")
    return parser


if __name__ == "__main__":
    sys.exit(main())
