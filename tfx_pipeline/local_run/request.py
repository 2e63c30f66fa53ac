"""What a command asks of a run: the data, the settings and the songs to take down."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline import contract


@dataclass(frozen=True)
class Request:
    """What a run reads.

    Attributes:
        data: Folder with songs and plays.
        settings: JSON file of settings; None for the defaults.
        window: Of data in spans, how many of the latest are read; None for all.
        takedown: List of songs to take down; None for none.
        ignore_missing: Whether that list may hold unknown ids.
    """

    data: Path
    settings: Path | None = None
    window: int | None = None
    takedown: Path | None = None
    ignore_missing: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace, data: Path | None = None) -> Request:
        """Returns the request of the options that `add_options` adds.

        Args:
            arguments: The options as they were parsed.
            data: A folder that takes the place of `--data`.
        """
        return cls(
            data or arguments.data,
            arguments.settings,
            arguments.window,
            arguments.takedown,
            arguments.ignore_missing,
        )

    def training_needs(self) -> contract.TrainingNeeds:
        """Returns the settings that the check of the input needs.

        Raises:
            SettingsError: If the settings file cannot be used.
        """
        return contract.TrainingNeeds.read(self.settings) if self.settings else contract.TrainingNeeds()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a request, without `--data`."""
    parser.add_argument("--window", type=int, help="number of the latest days whose plays are read (default: all)")
    parser.add_argument(
        "--settings", type=path, help="JSON file of the settings that differ from the defaults (default: none differ)"
    )
    parser.add_argument(
        "--takedown",
        type=path,
        help="list of ids of songs to take down, for this run and all later ones (default: none)",
    )
    parser.add_argument(
        "--metadata",
        metavar="ADDRESS",
        help="database of the runs, mysql://USER@HOST/DATABASE or postgresql://USER@HOST/DATABASE; its password is in "
        "the variable BCL_METADATA_PASSWORD_FILE or BCL_METADATA_PASSWORD (default: BCL_METADATA, else a file in the "
        "folder of the run)",
    )
    parser.add_argument("--ignore-missing", action="store_true", help="ignore ids of --takedown that are unknown")


def path(text: str) -> Path:
    """Returns the path; a leading ~ is the user's home, unless a file of that name exists."""
    return Path(text if os.path.lexists(text) else os.path.expanduser(text))
