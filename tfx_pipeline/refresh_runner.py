"""Refreshes the served index on this machine: `tfx pipeline create --engine local --pipeline_path <this file>`.

Environment variables bind the paths, as for `tfx_pipeline.local_runner`:

BCL_DATA            folder with the catalogue as it is now, or its URI
BCL_RUN             folder of the run that trained and pushed the model (default: runs/bcl)
BCL_BEAM, BCL_METADATA with its password, BCL_TAKEDOWN and BCL_IGNORE_MISSING as there
"""

from __future__ import annotations

import os
import sys

from tfx_pipeline.runtime.console import import_quietly
from tfx_pipeline.runtime.keras_backend import use_tensorflow
from tfx_pipeline.runtime.stopping import stop_on_signals, stop_with_tfx

if __name__ == "__main__":
    stop_on_signals()  # before the imports below, which take half a minute
    stop_with_tfx()
use_tensorflow()  # before TFX, which imports Keras
import_quietly("tfx_pipeline.index_refresh.pipeline_run")  # and with it TFX

# isort: split
from tfx_pipeline.contract.stores.location import locate
from tfx_pipeline.index_refresh.pipeline_run import check_input, run
from tfx_pipeline.runtime.console import Console, StoppedError, stop_with_message
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.tfx_extensions.progress import component_lines


def main() -> None:
    """Reads the environment, checks the input and runs."""
    data = os.environ.get("BCL_DATA")
    if not data:
        sys.stderr.write("BCL_DATA: expected the folder with songs.parquet and plays.parquet. Received: no value\n")
        sys.exit(2)
    folder, console = RunFolder.at(os.environ.get("BCL_RUN") or "runs/bcl"), Console()
    try:
        place = locate(data)
        with folder.for_this_run("BCL_RUN", place):
            catalogue = check_input(folder, place)
            with console.output_to_log(folder.log), stop_with_message(folder.log), component_lines(console.say):
                run(folder, catalogue)
            console.say(f"Log: {folder.log}")
    except StoppedError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except (ValueError, OSError) as error:  # of the folders or the contract
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
