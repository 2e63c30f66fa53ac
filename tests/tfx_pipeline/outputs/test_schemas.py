"""Readers outside this project rely on these columns: a test that fails here asks for a new schema version."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from tfx_pipeline.outputs.schemas import SCHEMA_VERSION, TABLES, Table

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "outputs.md"
_TEXTS, _NUMBERS = pa.list_(pa.string()), pa.list_(pa.float32())
#: Version 1. Columns may be added; what is here stays.
VERSION_1 = {
    "targets": {
        **dict.fromkeys(("song_id", "title", "split", "user_id", "rule", "group"), pa.string()),
        "rank": pa.int32(),
        "score": pa.float32(),
        "reason_song_ids": _TEXTS,
        "reason_scores": _NUMBERS,
        "cluster": pa.int32(),
        "part_vector": pa.float32(),
        "part_count": pa.float32(),
    },
    "matches": {
        **dict.fromkeys(("song_id", "title", "split"), pa.string()),
        "match_ids": _TEXTS,
        "match_titles": _TEXTS,
        "match_scores": _NUMBERS,
        "match_shares": pa.list_(_NUMBERS),
        "share_names": _TEXTS,
        "reliability": pa.float32(),
        **dict.fromkeys(("match_chances", "match_chances_low", "match_chances_high"), _NUMBERS),
    },
    "embeddings": {
        **dict.fromkeys(("song_id", "split"), pa.string()),
        "embedding": _NUMBERS,
        "candidate_embedding": _NUMBERS,
    },
    "songs_summary": {
        **dict.fromkeys(("song_id", "title", "split", "status"), pa.string()),
        **dict.fromkeys(("targets", "held_aside", "matches_given", "matches_bad", "matches_kept"), pa.int32()),
        **dict.fromkeys(("matches_used", "scored", "excluded", "without_vector", "clusters"), pa.int32()),
        "audience": pa.int64(),
        "sampled": pa.bool_(),
    },
}


def test_columns_of_version_1_are_all_there():
    assert SCHEMA_VERSION == 1
    assert {table.name for table in TABLES} == set(VERSION_1)
    for table in TABLES:
        types = {column.name: column.type for column in table.columns}
        assert {name: types.get(name) for name in VERSION_1[table.name]} == VERSION_1[table.name]


def test_user_ids_are_columns_of_targets_alone():
    assert [t.name for t in TABLES for column in t.columns if "user" in column.name] == ["targets"]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_document_has_every_column(table: Table):
    section = DOCUMENT.read_text(encoding="utf-8").split(f"### {table.file}\n")[1].split("\n### ")[0]
    documented = re.findall(r"^\| (\w+) \| ([\w<>]+) \| (.+) \|$", section, re.MULTILINE)
    columns = [(c.name, re.sub("<(item|element): ", "<", str(c.type)), c.meaning) for c in table.columns]
    assert [found for found in documented if found[0] != "column"] == columns
    assert table.meaning in section


def test_the_targeting_writes_the_published_columns():
    from tfx_pipeline.outputs.schemas import SONGS_SUMMARY, TARGETS
    from tfx_pipeline.targeting.beam import result_tables

    for own, published in ((result_tables.TARGETS, TARGETS), (result_tables.SUMMARY, SONGS_SUMMARY)):
        types = {name: own.field(name).type for name in own.names}
        assert {**types, "title": pa.string()} == {column.name: column.type for column in published.columns}
