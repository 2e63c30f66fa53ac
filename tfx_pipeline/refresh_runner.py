"""Refreshes the served index on this machine: `tfx pipeline create --engine local --pipeline_path <this file>`.

The environment binds the paths, as for `tfx_pipeline.local_runner`: BCL_DATA is the folder with the catalogue as it is
now, BCL_RUN the folder of the run that trained and pushed the model (default: runs/bcl), BCL_TAKEDOWN and
BCL_IGNORE_MISSING as there.
"""

from __future__ import annotations

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
import_quietly("tfx_pipeline.index_refresh.pipeline")  # and with it TFX

# isort: split
from tfx import v1 as tfx

from serving.savedmodel.publish import latest_version
from tfx_pipeline import contract
from tfx_pipeline.history.run_record import last_run_id
from tfx_pipeline.history.served_again import serve_index_of_last_refresh
from tfx_pipeline.index_refresh.pipeline import create_refresh_pipeline
from tfx_pipeline.removal.takedown import take_down_listed
from tfx_pipeline.runtime.beam_options import beam_options
from tfx_pipeline.runtime.console import Console, StoppedError, stops_in_words
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.tfx_extensions.progress import component_lines

NAME = "bcl-refresh"


def metadata_of(folder: RunFolder) -> Path:
    """Returns where refreshes are recorded: apart from the training runs, whose last one others look up."""
    return _home(folder) / "metadata.sqlite"


def run(folder: RunFolder, data: Path, *, max_dropped: float = 0.2, name: str = NAME) -> None:
    """Checks the catalogue and runs the pipeline; pushes the next version if anything has changed.

    Args:
        folder: The folder of the run that pushed the model.
        data: Folder with songs and plays; only the songs are used.
        max_dropped: The largest share of the index that may be dropped.
        name: The pipeline's name.

    Raises:
        ContractError: If the input breaks the contract.
        PublishError: If there is no version to start from.
    """
    latest_version(str(folder.serving))  # says at once that there is none
    catalogue = contract.prepare(data, _home(folder) / "input")
    take_down_listed(folder, _home(folder) / "input")
    _run_prepared(folder, catalogue, max_dropped, name)


def _home(folder: RunFolder) -> Path:
    return folder.home / "refresh"


def _run_prepared(folder: RunFolder, catalogue: contract.Catalogue, max_dropped: float = 0.2, name: str = NAME) -> None:
    home, before = _home(folder), last_run_id(metadata_of(folder))
    tfx.orchestration.LocalDagRunner().run(
        create_refresh_pipeline(
            pipeline_name=name,
            pipeline_root=home / "pipeline",
            data_root=home / "input",
            serving_dir=folder.serving,
            fields=catalogue.fields,
            max_dropped=max_dropped,
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(metadata_of(folder))
            ),
            beam_pipeline_args=beam_options(),
        )
    )
    if last_run_id(metadata_of(folder)) != before:  # else `tfx pipeline create` read this file, and nothing ran
        serve_index_of_last_refresh(folder.serving, metadata_of(folder), home / "pipeline")


def main() -> None:
    """Reads the environment and runs."""
    data = os.environ.get("BCL_DATA")
    if not data:
        sys.stderr.write("BCL_DATA: expected the folder with songs.parquet and plays.parquet. Received: no value\n")
        sys.exit(2)
    folder, console = RunFolder.at(os.environ.get("BCL_RUN") or "runs/bcl"), Console()
    try:
        with folder.for_this_run("BCL_RUN", Path(data)):
            latest_version(str(folder.serving))
            catalogue = contract.prepare(data, _home(folder) / "input")
            take_down_listed(folder, _home(folder) / "input")
            with console.chatter_to(folder.log), stops_in_words(folder.log), component_lines(console.say):
                _run_prepared(folder, catalogue)
            console.say(f"Log: {folder.log}")
    except StoppedError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except (ValueError, OSError) as error:  # of the folders or the contract
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
