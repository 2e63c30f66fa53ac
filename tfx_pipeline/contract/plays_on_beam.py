"""Checks plays by Beam: each file is a task of its own, and what the files show is put together at the end.

A file that breaks the contract gives its message as a result, and not as a failure of its worker. Of several messages
the one is raised that a single process would have met first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from tfx_pipeline.contract.errors import ContractError
from tfx_pipeline.contract.forgotten import Forgotten
from tfx_pipeline.contract.play_columns import epoch_units
from tfx_pipeline.contract.play_counts import CheckedPlays, Distinct, PlayColumns, PlayCount
from tfx_pipeline.contract.plays import play_columns
from tfx_pipeline.contract.source import Source
from tfx_pipeline.runtime.beam_options import beam_options

_TIMES, _ROWS = 0, 1  # One process checks the times of all files first.


@dataclass(frozen=True)
class FileReport:
    """What one file has shown.

    Attributes:
        file: Its number.
        unit: The unit in which its times count; None where they are no numbers.
        count: Its rows.
        error: What breaks the contract; None where nothing does.
        phase: When one process would have met that.
    """

    file: int
    unit: str | None = None
    count: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    phase: int = _ROWS


def scan_on_beam(
    source: Source, song_ids: pa.Array, folder: Path, *, max_unknown_plays: float, forgotten: Forgotten
) -> CheckedPlays:
    """Checks plays and returns what they hold, as `scan_plays` does.

    Args:
        source: The table.
        song_ids: The known songs.
        folder: An empty folder that the workers see.
        max_unknown_plays: The largest share of plays of other songs.
        forgotten: Listeners whose plays are left out, and counted.

    Raises:
        ContractError: Whatever breaks the contract first.
    """
    columns = play_columns(source)
    numbers = range(len(source.filled))
    check = _CheckFile(source, columns, forgotten)
    with beam.Pipeline(options=PipelineOptions(list(beam_options()))) as pipeline:
        songs = beam.pvalue.AsSingleton(pipeline | "Songs" >> beam.Create([song_ids]))
        files = pipeline | "Files" >> beam.Create(list(numbers)) | "Spread" >> beam.Reshuffle()
        found = files | "Check" >> beam.ParDo(check, songs).with_outputs("kept", "gone", main="reports")
        _write(found.reports, folder, "reports")
        for name in ("kept", "gone"):
            listeners = found[name] | f"Each once {name}" >> beam.Distinct()
            number = listeners | f"Count {name}" >> beam.combiners.Count.Globally() | f"Text {name}" >> beam.Map(str)
            _write(number, folder, name)
    reports = sorted((FileReport(**json.loads(line)) for line in _lines(folder, "reports")), key=lambda r: r.file)
    _raise_first(reports)
    units = {source.filled[report.file].file: report.unit for report in reports if report.unit}
    of = PlayColumns(columns, units, song_ids, forgotten, len(source.parts) <= 1)
    users, gone = (int(next(_lines(folder, name))) for name in ("kept", "gone"))
    return _sum(reports).finished(source, of, users, gone, max_unknown_plays)


class _CheckFile(beam.DoFn):
    """Checks one file, given by its number among those with rows."""

    def __init__(self, source: Source, columns: tuple[str, ...], forgotten: Forgotten) -> None:
        self._source, self._columns, self._forgotten = source, columns, forgotten

    def process(self, number: int, song_ids: pa.Array) -> Iterator[Any]:
        header, count, phase = self._source.filled[number], PlayCount(), _TIMES
        users, gone, unit = Distinct(), Distinct(), None
        try:
            units = epoch_units(self._source, "timestamp", [header]) if "timestamp" in self._columns else {}
            unit, phase = units.get(header.file), _ROWS
            is_one_file = len(self._source.parts) <= 1
            of = PlayColumns(self._columns, units, song_ids, self._forgotten, is_one_file)
            for rows in self._source.batches_of(header, self._columns):
                kept_users, gone_users = count.add(rows, of)
                users.add(kept_users)
                gone.add(gone_users)
        except ContractError as error:
            yield json.dumps(asdict(FileReport(number, error=str(error), phase=phase)))
            return
        yield json.dumps(asdict(FileReport(number, unit, asdict(count))))
        for name, found in (("kept", users), ("gone", gone)):
            for user in found.values().to_pylist():
                yield beam.pvalue.TaggedOutput(name, user)


def _write(lines: Any, folder: Path, name: str) -> None:
    _ = lines | f"Write {name}" >> beam.io.WriteToText(str(folder / name))


def _lines(folder: Path, name: str) -> Iterator[str]:
    for file in sorted(folder.glob(f"{name}-*")):
        yield from file.read_text(encoding="utf-8").splitlines()


def _raise_first(reports: list[FileReport]) -> None:
    broken = [report for report in reports if report.error is not None]
    if broken:
        raise ContractError(min(broken, key=lambda report: (report.phase, report.file)).error)


def _sum(reports: list[FileReport]) -> PlayCount:
    whole = PlayCount()
    for report in reports:
        part = PlayCount(**report.count)
        whole.kept += part.kept
        whole.unknown += part.unknown
        whole.zero += part.zero
        whole.gone += part.gone
        whole.example = whole.example or part.example
    return whole
