"""Example songs of the run page, read from what a run's components wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import tensorflow as tf
from tfx import v1 as tfx

from serving.savedmodel.raw_fields import song_id_of, texts_of
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.schemas import CHANCES
from tfx_pipeline.contract.splits import NEW
from tfx_pipeline.evaluation.catalogue_embedding import MATCHES
from tfx_pipeline.reports.run_page.new_songs import Example
from tfx_pipeline.targeting import read_summary, read_targets
from tfx_pipeline.tfx_extensions.artifacts import SongEmbeddings, TargetListeners
from tfx_pipeline.tfx_extensions.example_files import ALL, split_pattern

_SONGS, _MATCHES, _LISTENERS, _REASONS = 5, 8, 5, 3
_TITLES = ("title", "name")


def example_songs(
    songs: tfx.types.standard_artifacts.Examples, embeddings: SongEmbeddings, targets: TargetListeners
) -> list[Example]:
    """Returns the new songs with the largest audiences to choose from, or held-out songs where there is no new one."""
    summary = [row for row in read_summary(targets.uri).to_pylist() if row["targets"]]
    new = [row for row in summary if row["split"] == NEW] or summary
    chosen = sorted(new, key=lambda row: (-row["audience"], row[SONG_ID]))[:_SONGS]
    ids = [row[SONG_ID] for row in chosen]
    wanted = ds.field(SONG_ID).isin(pa.array(ids, pa.string()))
    table = _matches(embeddings).to_table(columns=[SONG_ID, "match_ids", "match_scores", *CHANCES], filter=wanted)
    matches = {row[SONG_ID]: row for row in table.to_pylist()}
    names = _names(songs, {match for row in matches.values() for match in row["match_ids"][:_MATCHES]} | set(ids))
    listeners = read_targets(targets.uri, ids).to_pylist()
    return [
        Example(
            names.get(row[SONG_ID], row[SONG_ID]) + ("" if row["split"] == NEW else " (held out)"),
            list(_named_matches(matches[row[SONG_ID]], names)),
            list(_named_listeners((one for one in listeners if one[SONG_ID] == row[SONG_ID]), names)),
            _chances(matches[row[SONG_ID]]),
        )
        for row in chosen
    ]


def songs_without_matches(embeddings: SongEmbeddings) -> int:
    """Returns the number of songs without known values outside the index."""
    lengths = pc.list_value_length(_matches(embeddings).to_table(columns=["match_ids"])["match_ids"])
    return int(pc.sum(pc.equal(lengths, 0)).as_py() or 0)


def _named_matches(row: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for match, score in zip(row["match_ids"][:_MATCHES], row["match_scores"], strict=False):
        yield names.get(match, match), score


def _chances(row: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    lists = [row[column][:_MATCHES] for column in CHANCES if row[column] is not None]
    return list(zip(*lists, strict=True))


def _named_listeners(rows: Iterator[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[tuple[float, list[str]]]:
    for row in rows:
        if row["rank"] <= _LISTENERS:
            yield row["score"], [names.get(reason, reason) for reason in row["reason_song_ids"][:_REASONS]]


def _matches(embeddings: SongEmbeddings) -> ds.Dataset:
    files = [os.path.join(embeddings.uri, n) for n in sorted(os.listdir(embeddings.uri)) if n.startswith(MATCHES)]
    return ds.dataset(files, format="parquet")


def _names(songs: tfx.types.standard_artifacts.Examples, wanted: set[str]) -> dict[str, str]:
    """Returns the titles of the songs that have one, in one pass over the examples."""
    found = {}
    files = tf.io.gfile.glob(split_pattern(songs, ALL))
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        song = song_id_of(record).decode()
        titles = [text for column in _TITLES for text in texts_of(record, column)] if song in wanted else []
        if titles:
            found[song] = titles[0]
    return found
