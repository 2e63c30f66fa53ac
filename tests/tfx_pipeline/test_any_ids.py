"""Ids of any text along the whole path: contract, labels, table, embedding, targeting, refresh, client, REST."""

from __future__ import annotations

import asyncio
import http.client
import json
from base64 import b64encode
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.client import AsyncClient, Client
from serving.client.__main__ import main as client_command
from serving.refresh.index import refreshed_index
from serving.refresh.saved_version import SavedVersion, write_version
from serving.savedmodel.raw_fields import encode_song
from serving.server import EmbeddedServer
from tests.any_text import AWKWARD, LONG, any_text
from tests.serving import small_export
from tfx_pipeline import contract
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.splits import WARM, ColdSplit
from tfx_pipeline.index_refresh.new_songs import NewSongs
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.labels.similar_songs import FindSimilarSongs, SimilarSongs
from tfx_pipeline.models import features
from tfx_pipeline.models.song_table import SongTable, read_song_table
from tfx_pipeline.targeting import TargetingConfig, TargetListeners, WriteTargets, read_summary, read_targets

pytestmark = pytest.mark.slow

Play = tuple[str, str]
SPLIT = ColdSplit(validation_share=0.1, test_share=0.1, min_listeners=3)
TYPES = [("song_id", pa.string()), ("attribute_genre", pa.string()), ("attribute_tags", pa.list_(pa.string()))]
TYPES += [("audio_tempo", pa.float32()), ("lyric_vector", pa.list_(pa.float32())), ("title", pa.string())]
LABELS = SimpleNamespace(
    transformed_feature_spec=lambda: {
        SONG_ID: tf.io.FixedLenFeature([], tf.string),
        features.LISTENERS: tf.io.VarLenFeature(tf.int64),
        features.SIMILAR_IDS: tf.io.VarLenFeature(tf.string),
        features.SIMILAR_SCORES: tf.io.VarLenFeature(tf.float32),
    }
)


@pytest.mark.parametrize("longest", [(), (LONG,)], ids=["ordinary", "one of 3,000 characters"])
@settings(max_examples=2, derandomize=True, deadline=None, database=None)
@given(drawn=st.lists(any_text(), min_size=6, max_size=6, unique=True))
def test_any_id_goes_the_whole_way(longest: tuple[str, ...], drawn: list[str]) -> None:
    ids = list(dict.fromkeys([*AWKWARD, *longest, *drawn, *(f"song{number}" for number in range(12))]))
    songs = [
        {**song, "song_id": song_id, "title": song_id}
        for song, song_id in zip(small_export.catalogue(len(ids)), ids, strict=True)
    ]
    users = ids[::-1][:30]  # listeners' ids may be as strange, and equal to songs'
    plays = [
        (user, song_id)
        for place, user in enumerate(users)
        for number, song_id in enumerate(ids)
        if place % 2 == number % 2 and (place // 2 + number // 2) % 3
    ]
    with TemporaryDirectory() as name:
        folder = Path(name)
        read, played = through_the_contract(folder, songs, plays)
        labels = labelled(played)
        table = as_table(folder / "Split-all", labels)
        warm = [song for song in read if labels[song["song_id"].encode()].split == WARM]
        exported = small_export.SmallExport(warm)
        check_embedding(exported, read)
        check_targets(folder / "targets", exported, read, table, played)
        version = exported.export(folder / "bcl" / "1")
        served = refreshed(folder, version, warm)
        check_answers(folder / "bcl", served)


def through_the_contract(
    folder: Path, songs: list[dict[str, Any]], plays: list[Play]
) -> tuple[list[dict[str, Any]], list[Play]]:
    """What the pipeline reads: the same ids, in the same order."""
    data = folder / "data"
    data.mkdir()
    pq.write_table(pa.Table.from_pylist(songs, pa.schema(TYPES)), data / "songs.parquet")
    columns = {"user_id": [user for user, _ in plays], "song_id": [song for _, song in plays]}
    pq.write_table(pa.table(columns), data / "plays.parquet")
    contract.prepare(data, folder / "input")
    read = pq.read_table(folder / "input" / contract.SONGS).to_pylist()
    played = pq.read_table(folder / "input" / contract.PLAYS).to_pylist()
    assert [(song["song_id"], song["title"]) for song in read] == [(song["song_id"], song["title"]) for song in songs]
    assert [(play["user_id"], play["song_id"]) for play in played] == plays
    return read, plays


FOUND: dict[str, Any] = {}


def keep(rows: list[tuple[bytes, SimilarSongs]]) -> None:
    """The runner works in this process, so what it finds can be kept here."""
    FOUND["labels"] = dict(rows)


def labelled(plays: list[Play]) -> dict[bytes, SimilarSongs]:
    users, songs = zip(*plays, strict=True)
    table = pa.table({"user_id": users, "song_id": songs})
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        parts = pipeline | beam.Create([table.slice(0, 50), table.slice(50)])
        parts | FindSimilarSongs(AudienceConfig(shards=3), SPLIT) | beam.combiners.ToList() | beam.Map(keep)
    labels = FOUND.pop("labels")
    listeners = defaultdict(set)
    for user, song in plays:
        listeners[song.encode()].add(user)
    assert {song: label.listeners for song, label in labels.items()} == {s: len(u) for s, u in listeners.items()}
    for song, label in labels.items():
        assert label.split == SPLIT.assign(song, label.listeners)
        shared = {s for s in listeners if listeners[s] & listeners[song] and s != song and labels[s].split == WARM}
        assert set(label.ids) <= shared and (label.ids or label.split != WARM)
    return labels


def as_table(folder: Path, labels: dict[bytes, SimilarSongs]) -> SongTable:
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "songs.gz"), "GZIP") as writer:
        for song, label in labels.items():
            example = tf.train.Example()
            feature = example.features.feature
            feature[SONG_ID].bytes_list.value.append(song)
            feature[features.LISTENERS].int64_list.value.append(label.listeners)
            feature[features.SIMILAR_IDS].bytes_list.value.extend(label.ids)
            feature[features.SIMILAR_SCORES].float_list.value.extend(label.scores)
            writer.write(example.SerializeToString())
    table = read_song_table({"all": str(folder)}, LABELS, [])
    assert table.ids.tolist() == sorted(labels)
    rows = table.rows_of(table.similar_ids)
    for song, row in zip(table.ids.tolist(), rows, strict=True):
        assert [table.ids.tolist()[place] for place in row[row >= 0]] == labels[song].ids
        assert (row < 0).sum() == len(row) - len(labels[song].ids)  # the padding is no song
    return table


def check_embedding(exported: small_export.SmallExport, songs: list[dict[str, Any]]) -> None:
    """A warm song's candidate is made with its own plays, another song's with none."""
    examples = tf.constant([encode_song(song, small_export.FIELDS) for song in songs])
    found = exported.model.embed_candidates(examples)["embedding"].numpy()
    np.testing.assert_allclose(found, exported.embed(songs, candidate=True), atol=1e-5)


def check_targets(
    out: Path, exported: small_export.SmallExport, songs: list[dict[str, Any]], table: SongTable, plays: list[Play]
) -> None:
    """Every listener is one of the plays'; those excluded get nothing; a song's rows are found by its id."""
    examples = tf.constant([encode_song(song, small_export.FIELDS) for song in songs])
    vectors = exported.model.embed_candidates(examples)["embedding"].numpy().tolist()
    matches = exported.model.match_examples(examples)
    found = zip(songs, matches["song_ids"].numpy().tolist(), matches["scores"].numpy().tolist(), strict=True)
    catalogue = [
        {
            "song_id": song["song_id"],
            "split": WARM if song["song_id"] in exported.ids else "new",
            "embedding": vector,
            "candidate_embedding": vector,
        }
        for song, vector in zip(songs, vectors, strict=True)
    ]
    cold = [row["song_id"] for row in catalogue if row["split"] != WARM]
    users = sorted({user for user, _ in plays})
    nothing, not_this = users[0], users[-1]
    inputs = {
        "catalogue": catalogue,
        "matches": [
            {"song_id": song["song_id"], "match_ids": [match.decode() for match in ids], "match_scores": scores}
            for song, ids, scores in found
            if song["song_id"] in cold
        ],
        "plays": [{"user_id": user, "song_id": song} for user, song in plays],
        "exclusions": [{"user_id": nothing, "song_id": None}, {"user_id": not_this, "song_id": cold[0]}],
    }
    config = TargetingConfig(listeners_per_song=40, plays_per_shard=200, songs_per_shard=3, cap=4, held_aside=0.2)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        made = {name: pipeline | name >> beam.Create(rows) for name, rows in inputs.items()}
        made | TargetListeners(config) | WriteTargets(str(out), config)
    targets = read_targets(str(out)).to_pylist()
    assert {row["user_id"] for row in targets} <= set(users) - {nothing}
    assert (cold[0], not_this) not in {(row["song_id"], row["user_id"]) for row in targets}
    assert {row["song_id"] for row in read_summary(str(out)).to_pylist()} == set(cold)
    plays_of = defaultdict(set)
    for user, song in plays:
        plays_of[user].add(song)
    assert targets and all(set(row["reason_song_ids"]) <= plays_of[row["user_id"]] for row in targets)
    for song in cold:
        rows = read_targets(str(out), [song]).to_pylist()
        assert rows == [row for row in targets if row["song_id"] == song]
        # Equal scores stand in the order of the listeners' ids.
        assert rows == sorted(rows, key=lambda row: (-row["score"], row["user_id"].encode()))


def refreshed(folder: Path, version: Path, warm: list[dict[str, Any]]) -> list[str]:
    """Drops half of the songs, adds them again under new ids, and returns the ids of the index."""
    gone = [song["song_id"] for song in warm[::2]]
    new = [{**song, "song_id": f"{song['song_id']}\n+"} for song in warm[::2]]
    pq.write_table(pa.Table.from_pylist(new, pa.schema(TYPES)), folder / "new.parquet")
    with SavedVersion(str(version)) as opened:
        assert opened.index.names() == [song["song_id"] for song in warm]
        index, changes = refreshed_index(opened, NewSongs(folder / "new.parquet", opened.fields), drop=gone)
    assert changes.dropped == tuple(gone) and changes.added == tuple(song["song_id"] for song in new)
    write_version(str(version), str(version.parent / "2"), index)
    return [*(song["song_id"] for song in warm[1::2]), *changes.added]


def check_answers(base: Path, ids: list[str]) -> None:
    """Client, asynchronous client, command line and REST know every id, and leave out the one that is excluded."""
    fields = {"attribute_genre": "jazz", "audio_tempo": 1.0}
    songs, k = [{"song_id": song_id, **fields} for song_id in ids], len(ids) - 1
    with EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(base)) as server:
        with Client(server.target) as client:
            found, _ = client.match(songs, k=k)
        found_too, _ = asyncio.run(match_all(server.target, songs, k))
        over_rest = ask(server.rest_port, {"instances": [row(song_id, k) for song_id in ids]})
        as_bytes = [row({"b64": b64encode(song_id.encode()).decode()}, k) for song_id in ids]
        assert ask(server.rest_port, {"instances": as_bytes}) == over_rest
        arguments = ["match", "--target", server.target, "--k", str(k), "--song-json"]
        assert client_command([*arguments, json.dumps(songs[-1], ensure_ascii=False)]) == 0
    for song_id, matched, matched_too, reply in zip(ids, found, found_too, over_rest, strict=True):
        assert sorted(matched) == sorted(set(ids) - {song_id})
        assert matched.tolist() == matched_too.tolist() == reply["song_ids"]


def row(exclude: Any, k: int) -> dict[str, Any]:
    fields = {"attribute_genre": "jazz", "attribute_tags": [""], "audio_tempo": 1.0, "lyric_vector": [float("nan")] * 3}
    return {**fields, "k": k, "exclude": exclude}


async def match_all(target: str, songs: list[dict[str, Any]], k: int) -> tuple[Any, Any]:
    async with AsyncClient(target) as client:
        return await client.match(songs, k=k)


def ask(port: int, body: dict[str, Any]) -> list[dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/models/bcl:predict", json.dumps({"signature_name": "match", **body}))
    reply = connection.getresponse().read()
    connection.close()
    predictions: list[dict[str, Any]] = json.loads(reply)["predictions"]
    return predictions
