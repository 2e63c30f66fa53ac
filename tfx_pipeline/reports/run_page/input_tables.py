"""The tables that came in: their columns, with type, share of filled rows and values."""

from __future__ import annotations

from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import statistics_pb2

from tfx_pipeline.contract.text import on_one_line
from tfx_pipeline.reports.html import table

_KINDS = statistics_pb2.FeatureNameStatistics
_TOP_VALUES = 4


@dataclass(frozen=True)
class Column:
    """One column of a table that came in.

    Attributes:
        name: Its name.
        kind: Its type, as TFDV names it.
        present: Share of rows with a value.
        values: Its values in words.
    """

    name: str
    kind: str
    present: float
    values: str


def columns(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> tuple[int, list[Column]]:
    """Returns the number of rows and the columns, from TFDV's statistics."""
    dataset = statistics.datasets[0]
    found = []
    for feature in dataset.features:
        common = getattr(feature, feature.WhichOneof("stats")).common_stats
        present = common.num_non_missing / max(dataset.num_examples, 1)
        kind = _KINDS.Type.Name(feature.type).lower()
        found.append(Column(feature.path.step[0], kind, present, _values(feature)))
    return int(dataset.num_examples), sorted(found, key=lambda column: column.name)


def input_tables(songs: tuple[int, list[Column]], plays: tuple[int, list[Column]]) -> str:
    """Returns a table of columns for the songs and one for the plays, as HTML."""
    return _table_of("songs", *songs) + _table_of("plays", *plays)


def _table_of(name: str, rows: int, found: list[Column]) -> str:
    lines = [[column.name, column.kind, f"{100 * column.present:.1f} %", column.values] for column in found]
    return f"<h3>{rows:,} {name}</h3>{table(['column', 'type', 'present', 'values'], lines, 'words')}"


def _values(feature: statistics_pb2.FeatureNameStatistics) -> str:
    if feature.WhichOneof("stats") == "num_stats":
        numbers = feature.num_stats
        return f"{numbers.min:.3g} to {numbers.max:.3g}, mean {numbers.mean:.3g}, deviation {numbers.std_dev:.3g}"
    words = feature.string_stats
    shown = list(words.top_values)[:_TOP_VALUES]
    top = ", ".join(f"{on_one_line(value.value)} ({value.frequency:.0f})" for value in shown)
    return f"{words.unique:,} different; most often {top}"
