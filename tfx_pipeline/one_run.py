"""One run on this machine, from a folder of songs and plays to its record; commands differ in what they say of it.

TFX takes half a minute to load, so it is imported once the input has been checked.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline import contract
from tfx_pipeline.removal.takedown import say_left_out, take_down
from tfx_pipeline.runtime.console import Console
from tfx_pipeline.runtime.run_folder import RunFolder

if TYPE_CHECKING:
    from tfx_pipeline.config import PipelineConfig
    from tfx_pipeline.history.run_record import RunRecord


@dataclass(frozen=True)
class Request:
    """What a run reads.

    Attributes:
        data: Folder with songs and plays.
        settings: JSON file of settings; None for the defaults.
        window: Of data in spans, how many of the latest are read; None for all.
        takedown: List of songs to take down; None for none.
        ignore_missing: Whether ids of that list may be unknown.
    """

    data: Path
    settings: Path | None = None
    window: int | None = None
    takedown: Path | None = None
    ignore_missing: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace, data: Path | None = None) -> Request:
        """Returns what the options of `add_options` say; `data` in place of `--data` where that is given."""
        return cls(
            data or arguments.data,
            arguments.settings,
            arguments.window,
            arguments.takedown,
            arguments.ignore_missing,
        )

    def training_needs(self) -> contract.TrainingNeeds:
        """Returns the settings by which the input is checked.

        Raises:
            SettingsError: If the settings file cannot be used.
        """
        return contract.TrainingNeeds.read(self.settings) if self.settings else contract.TrainingNeeds()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a request but for `--data`."""
    parser.add_argument("--window", type=int, help="number of the latest days whose plays are read (default: all)")
    parser.add_argument(
        "--settings", type=path, help="JSON file of the settings that differ from the defaults (default: none differ)"
    )
    parser.add_argument(
        "--takedown",
        type=path,
        help="list of ids of songs to take down, for this run and all later ones (default: none)",
    )
    parser.add_argument("--ignore-missing", action="store_true", help="pass over ids of --takedown that are unknown")


def path(text: str) -> Path:
    """Returns the path; ~ is the user's home, which a shell does not say everywhere, where no such file is there."""
    return Path(text if os.path.lexists(text) else os.path.expanduser(text))


def check_input(request: Request, folder: RunFolder, console: Console) -> contract.Catalogue:
    """Checks the data, writes what the pipeline reads, takes songs down, and says what there is.

    Raises:
        ContractError: If the data breaks the contract.
        ValueError: If the list of songs to take down cannot be used.
    """
    training = request.training_needs()
    catalogue = contract.prepare(request.data, folder.input, window=request.window, training=training)
    missing = request.ignore_missing
    left_out = take_down(folder.serving, folder.input, request.takedown, ignore_missing=missing)
    console.say(describe(catalogue))
    if left_out:
        console.say(say_left_out(left_out))
    return catalogue


def describe(catalogue: contract.Catalogue) -> str:
    """Returns what the data holds, in words."""
    kinds = ", ".join(field.name for field in catalogue.fields)
    return (
        f"Catalogue: {catalogue.num_songs:,} songs, {catalogue.num_users:,} users, {catalogue.num_plays:,} plays\n"
        f"Fields: {kinds}" + "".join(f"\n  note: {note}" for note in catalogue.notes)
    )


def read_config(request: Request, folder: RunFolder, console: Console) -> PipelineConfig:
    """Returns the settings of the pipeline.

    Raises:
        SettingsError: If the settings file cannot be used.
    """
    with console.chatter_to(folder.log):
        from tfx_pipeline.config import PipelineConfig, read_settings

        return PipelineConfig() if request.settings is None else read_settings(request.settings)


def run_pipeline(
    folder: RunFolder,
    catalogue: contract.Catalogue,
    config: PipelineConfig,
    console: Console,
    *,
    until: float | None = None,
) -> RunRecord:
    """Runs the pipeline, a line for each component, and returns the record of the run.

    A line more says where the model of an earlier run is served again, or why it is not.

    Args:
        folder: The run's folder, which the caller holds; where chatter goes is the caller's choice.
        catalogue: The checked input.
        config: The settings.
        console: Where the lines go.
        until: Time of `time.monotonic` after which no further component starts; None for no end.

    Raises:
        OutOfTimeError: If that time came.
    """
    from tfx_pipeline import local_runner
    from tfx_pipeline.history.run_record import RunRecord
    from tfx_pipeline.tfx_extensions.progress import component_lines

    with component_lines(console.say, until=until):
        line = local_runner.run(folder, catalogue.fields, config)
    if line:
        console.say(line)
    return RunRecord.latest(folder.metadata)
