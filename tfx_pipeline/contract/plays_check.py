"""Checks plays in this process, or by Beam where they are too many for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from tfx_pipeline.contract.forgotten import NOBODY, Forgotten
from tfx_pipeline.contract.play_counts import CheckedPlays
from tfx_pipeline.contract.plays import scan_plays
from tfx_pipeline.contract.source import Source
from tfx_pipeline.runtime.settings_codec import with_changes
from tfx_pipeline.runtime.settings_file import read_object


@dataclass(frozen=True)
class CheckConfig:
    """How the input is checked.

    Attributes:
        plays_in_process: Rows of plays up to which one process checks them. More are checked by the engine of the Beam
            steps, one file at a time on each worker. The messages are the same.
    """

    plays_in_process: int = 100_000_000

    def __post_init__(self) -> None:
        if self.plays_in_process < 0:
            raise ValueError(f"Argument `plays_in_process` must be at least 0. Received: {self.plays_in_process!r}")

    @classmethod
    def read(cls, settings: Path | None) -> CheckConfig:
        """Returns what a file of settings says of the check; the defaults where there is no file.

        Raises:
            SettingsError: The file is no JSON object, or its section `check` cannot be used.
        """
        if settings is None:
            return cls()
        given = {name: section for name, section in read_object(settings).items() if name == "check"}
        return with_changes(_Section(), given, str(settings)).check


@dataclass(frozen=True)
class _Section:
    """The part of the settings that is read here."""

    check: CheckConfig = field(default_factory=CheckConfig)


def check_plays(
    source: Source,
    song_ids: pa.Array,
    *,
    max_unknown_plays: float,
    forgotten: Forgotten = NOBODY,
    config: CheckConfig | None = None,
    aside: Path | None = None,
) -> CheckedPlays:
    """Checks plays and returns what they hold.

    Args:
        source: The table.
        song_ids: The known songs.
        max_unknown_plays: The largest share of plays of other songs.
        forgotten: Listeners whose plays are left out, and counted.
        config: From how many rows Beam checks them.
        aside: A folder that the workers of the engine see, for what they find; None for one of this machine's own.

    Raises:
        ContractError: Whatever breaks the contract first.
    """
    most = (config or CheckConfig()).plays_in_process
    rows = sum(header.num_rows for header in source.headers)
    if rows <= most:
        return scan_plays(source, song_ids, max_unknown_plays=max_unknown_plays, forgotten=forgotten)
    from tfx_pipeline.contract.plays_on_beam import scan_on_beam  # late: importing Beam takes seconds

    with TemporaryDirectory(prefix="plays-check-", dir=aside) as folder:
        share, into = max_unknown_plays, Path(folder)
        plays = scan_on_beam(source, song_ids, into, max_unknown_plays=share, forgotten=forgotten)
    note = f"Plays were checked by Beam: {rows:,} rows are more than {most:,} (setting check.plays_in_process)."
    return replace(plays, notes=(*plays.notes, note))
