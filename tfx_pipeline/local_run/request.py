"""What a command asks of a run: the data, the settings and the songs to take down."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline import contract
from tfx_pipeline.contract.stores.location import Location, locate


@dataclass(frozen=True)
class Request:
    """What a run reads.

    Attributes:
        data: Folder with songs and plays, on this machine or in a store.
        settings: JSON file of settings; None for the defaults.
        window: Of data in spans, how many of the latest are read; None for all.
        takedown: List of songs to take down; None for none.
        ignore_missing: Whether that list may hold unknown ids.
    """

    data: Location
    settings: Path | None = None
    window: int | None = None
    takedown: Path | None = None
    ignore_missing: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace, data: Location | None = None) -> Request:
        """Returns the request of the options that `add_options` adds.

        Args:
            arguments: The options as they were parsed.
            data: A folder that takes the place of `--data`.
        """
        return cls(
            data or locate(arguments.data),
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

    def columns(self) -> contract.ColumnNames:
        """Returns the column names of the user's own.

        Raises:
            SettingsError: If the settings file cannot be used.
        """
        return contract.ColumnNames.read(self.settings)

    def check_config(self) -> contract.CheckConfig:
        """Returns how the input is checked.

        Raises:
            SettingsError: If the settings file cannot be used.
        """
        return contract.CheckConfig.read(self.settings)

    def prepare(self, out: Path) -> contract.Catalogue:
        """Checks the data and writes what the pipeline reads; see `contract.prepare`.

        Raises:
            ContractError: If the data breaks the contract.
            SettingsError: If the settings file cannot be used.
        """
        return contract.prepare(
            self.data,
            out,
            window=self.window,
            training=self.training_needs(),
            columns=self.columns(),
            config=self.check_config(),
        )


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


def place(text: str) -> str | Path:
    """Returns a URI as it is, and else the path. `locate` reads a URI where its error can be shown."""
    return text if "://" in text else path(text)


def path(text: str) -> Path:
    """Returns the path; a leading ~ is the user's home, unless a file of that name exists."""
    return Path(text if os.path.lexists(text) else os.path.expanduser(text))
