"""The first stage of the pipeline: songs and plays come in, are counted and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx import v1 as tfx

from tfx_pipeline import contract
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.gates.data_drift import DataGateConfig
from tfx_pipeline.gates.data_gate import DataGate
from tfx_pipeline.tfx_extensions import standard

#: Columns of plays that are counted. The most frequent values of a listener's id would be ids, so it is left out.
_PLAY_COLUMNS = (SONG_ID, "plays", "liked", "timestamp")


@dataclass(frozen=True)
class CheckedTable:
    """The steps that read and check one table.

    Attributes:
        examples: Channel of its rows: songs as tf.Examples, plays as Parquet.
        statistics: Channel of its statistics.
        schema: Channel of the schema that the statistics show.
        reader: The step that reads the table.
        checks: The steps that count and check it.
    """

    examples: Any
    statistics: Any
    schema: Any
    reader: Any
    checks: tuple[Any, ...]


@dataclass(frozen=True)
class CheckedData:
    """The steps of the first stage.

    Attributes:
        songs: Those of the songs.
        plays: Those of the plays.
        gate: The step that stops the run where the data differs too much from that of the last pushed run.
    """

    songs: CheckedTable
    plays: CheckedTable
    gate: Any

    @property
    def steps(self) -> list[Any]:
        """All steps, in their order."""
        return [self.songs.reader, self.plays.reader, *self.songs.checks, *self.plays.checks, self.gate]


def checked_data(data_root: Path, kept_statistics: str, config: DataGateConfig) -> CheckedData:
    """Returns the steps that read and check songs and plays.

    Args:
        data_root: Folder written by `contract.prepare`.
        kept_statistics: Folder of the statistics of the last pushed run.
        config: How much the data may differ from that of the last pushed run.
    """
    songs = _checked("Song", data_root / contract.SONGS)
    plays = _checked("Play", data_root / contract.PLAYS, _PLAY_COLUMNS, columnar=True)
    gate = DataGate(
        song_statistics=songs.statistics, play_statistics=plays.statistics, kept=kept_statistics, settings=config
    )
    return CheckedData(songs, plays, gate)


def _checked(name: str, file: Path, columns: tuple[str, ...] | None = None, *, columnar: bool = False) -> CheckedTable:
    reader = standard.parquet_example_gen(file, columnar=columnar).with_id(f"{name}Gen")
    counter = standard.statistics_gen(reader.outputs["examples"], columns).with_id(f"{name}Statistics")
    statistics = counter.outputs["statistics"]
    inferrer = tfx.components.SchemaGen(statistics=statistics, infer_feature_shape=False).with_id(f"{name}SchemaGen")
    schema = inferrer.outputs["schema"]
    validator = tfx.components.ExampleValidator(statistics=statistics, schema=schema).with_id(f"{name}Validator")
    return CheckedTable(reader.outputs["examples"], statistics, schema, reader, (counter, inferrer, validator))
