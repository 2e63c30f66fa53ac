"""Forgetting listeners: no byte of an id is left, in folders with a file of every kind."""

from __future__ import annotations

import gzip
import html
import json
import os
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.any_text import AWKWARD, any_text
from tfx_pipeline import contract
from tfx_pipeline.contract.forgotten import NAME, Forgotten
from tfx_pipeline.forget import main
from tfx_pipeline.removal import rewriting
from tfx_pipeline.removal.folder import still_held
from tfx_pipeline.removal.search import holds
from tfx_pipeline.removal.wanted import Wanted
from tfx_pipeline.targeting.data.forgotten import without_forgotten

GONE, STAYS = ["listener-ä-17", 'lissy <&> "quoted"', "u0000012"], ["listener-ä-170", "u00000123", "someone else"]
SONGS = [f"song{number}" for number in range(12)]


def plays(users: list[str], kind: pa.DataType | None = None) -> pa.Table:
    rows = [(user, song, 1 + place) for user in users for place, song in enumerate(SONGS)]
    ids, songs, counts = zip(*rows, strict=True)
    return pa.table({"user_id": pa.array(ids, kind or pa.string()), "song_id": songs, "plays": counts})


def write_examples(path: Path, users: list[str]) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
        for user in users:
            lists = {"user_id": [user.encode()], "song_id": [b"song1"]}
            features = {n: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)) for n, v in lists.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def write_statistics(path: Path, users: list[str]) -> None:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    found = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = found.datasets.add(num_examples=9)
    for name, values in (("user_id", users), ("song_id", SONGS)):
        feature = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
        feature.path.step.append(name)
        for value in values:
            feature.string_stats.top_values.add(value=value, frequency=2)
            feature.string_stats.rank_histogram.buckets.add(label=value, sample_count=2)
    path.write_bytes(found.SerializeToString())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with all that a run keeps, in which listeners of `GONE` and `STAYS` stand."""
    home, users = tmp_path / "run", GONE + STAYS
    for name in (
        "input/songs",
        "input/plays",
        "pipeline/PlayGen",
        "pipeline/stats",
        "history/one",
        "serving",
    ):
        (home / name).mkdir(parents=True)
    pq.write_table(pa.table({"song_id": SONGS, "title": ["A title"] * 12}), home / "input/songs/songs.parquet")
    pq.write_table(plays(users), home / "input/plays/plays.parquet", row_group_size=5)
    coded = plays(users, pa.large_string())
    coded = coded.set_column(0, "user_id", coded["user_id"].dictionary_encode())
    pq.write_table(coded, home / "history/one/targets.parquet", compression="zstd")
    (home / "latest").symlink_to("history/one")
    os.link(home / "history/one/targets.parquet", home / "pipeline/targets.parquet")
    pq.write_table(plays(users).replace_schema_metadata({"made": "by hand"}), home / "exclusions.parquet")
    write_examples(home / "pipeline/PlayGen/plays-00000.gz", users * 3)
    lists = pa.array([[user.encode()] for user in users * 3], pa.large_list(pa.large_binary()))
    pq.write_table(pa.table({"user_id": lists}), home / "pipeline/PlayGen/plays-00001.parquet", row_group_size=4)
    write_statistics(home / "pipeline/stats/FeatureStats.pb", users)
    page = "".join(f"<li>user <bdi>{html.escape(user)}</bdi> <small>0.5, plays x</small></li>" for user in users)
    (home / "latest/run.html").write_text(page, encoding="utf-8")
    (home / "run.log").write_text("".join(f"ERROR: user {user!r}, song 'x'\n" for user in users), encoding="utf-8")
    (home / "history/one/report.json").write_text(json.dumps({"users": users, "recall": 0.5}))
    table = "".join(f'"{user.replace(chr(34), chr(34) * 2)}",0.5\r\n' for user in users)
    (home / "history/one/targets.csv").write_text(f"user_id,score\r\n{table}", encoding="utf-8", newline="")
    (home / "serving/saved_model.pb").write_bytes(b"\0\1song1\0" * 100)
    with sqlite3.connect(home / "metadata.sqlite") as database:
        database.execute("CREATE TABLE properties (name TEXT, value TEXT)")
        database.execute("INSERT INTO properties VALUES ('song', 'song1')")
    return home


def forget(run: Path, users: list[str], *more: str) -> int:
    listed = run.parent / "users.parquet"
    pq.write_table(pa.table({"user_id": users}), listed)
    return main([str(run), f"--users={listed}", *more])


def unpacked(folder: Path) -> dict[Path, bytes]:
    """What the files hold, by other means than the command's own: Parquet as text of its values."""
    found = {}
    for file in (path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        if data.startswith(b"PAR1"):
            data += "\n".join(map(str, pq.read_table(file).to_pylist())).encode()
        found[file] = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    return found


def test_no_byte_of_the_ids_is_left_and_the_others_stay(run: Path, capsys: Any) -> None:
    assert forget(run, GONE) == 0
    shown = capsys.readouterr().out
    assert "input/plays/plays.parquet: 36 rows" in shown and "PlayGen/plays-00000.gz: 9 examples" in shown
    assert "PlayGen/plays-00001.parquet: 9 rows" in shown
    assert "Listeners known here: 3." in shown and "none of the listeners is left" in shown
    assert not any(user in shown for user in GONE)
    files = unpacked(run)
    covered = {user: [other for other in STAYS if user in other] for user in GONE}
    for file, data in files.items():
        for user, others in covered.items():
            for spell in (str, html.escape, lambda text: json.dumps(text)[1:-1]):
                inside = sum(data.count(spell(other).encode()) for other in others)
                assert data.count(spell(user).encode()) == inside, (file, user)
    for name in ("input/plays/plays.parquet", "history/one/targets.parquet", "pipeline/targets.parquet"):
        assert pq.read_table(run / name)["user_id"].unique().to_pylist() == STAYS
    left = pq.ParquetFile(run / "history/one/targets.parquet")
    assert pa.types.is_dictionary(left.schema_arrow.field("user_id").type)
    assert left.metadata.row_group(0).column(0).compression == "ZSTD"
    assert os.path.samefile(run / "history/one/targets.parquet", run / "pipeline/targets.parquet")
    assert pq.read_schema(run / "exclusions.parquet").metadata[b"made"] == b"by hand"
    assert (run / "history/one/targets.csv").read_bytes().decode().count("\r\n") == 1 + len(STAYS)
    assert json.loads((run / "history/one/report.json").read_text())["recall"] == 0.5
    assert "someone else" in (run / "run.log").read_text() and "user " not in (run / "latest/run.html").read_text()
    from tfx_pipeline.removal.contents import user_statistics

    _, (feature,) = user_statistics((run / "pipeline/stats/FeatureStats.pb").read_bytes())
    assert feature.string_stats.ByteSize() == 0
    before = unpacked(run)
    assert forget(run, GONE) == 0 and unpacked(run) == before  # a second time changes nothing


def test_a_dry_run_changes_nothing(run: Path, capsys: Any) -> None:
    before = unpacked(run)
    assert forget(run, GONE, "--dry-run") == 0
    assert "history/one/targets.parquet: would change" in capsys.readouterr().out
    assert unpacked(run) == before


def test_what_cannot_be_rewritten_is_named(run: Path, capsys: Any) -> None:
    with sqlite3.connect(run / "metadata.sqlite") as database:
        database.execute("INSERT INTO properties VALUES ('who', ?)", (GONE[0],))
    with zipfile.ZipFile(run / "kept.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("users", "\0".join(GONE * 50))
    (run / "damaged.parquet").write_bytes(b"PAR1" + b"x" * 50)
    assert forget(run, GONE) == 2
    error = capsys.readouterr().err
    assert f"{run / 'metadata.sqlite'}: it holds an id." in error and f"{run / 'kept.npz'}: it holds an id." in error
    assert f"{run / 'damaged.parquet'}: it cannot be searched" in error and "3 files may still hold" in error
    assert not any(user in error for user in GONE)


def test_ids_that_are_songs_too_are_taken_from_columns_of_listeners_alone(run: Path) -> None:
    pq.write_table(plays(["7", "song1", "song2"]), run / "input/plays/plays.parquet")
    (run / "run.log").write_text("epoch 7, song1 was learnt\n")
    assert forget(run, ["7", "song1"]) == 0
    left = pq.read_table(run / "input/plays/plays.parquet")
    assert set(left["user_id"].to_pylist()) == {"song2"} and "song1" in left["song_id"].to_pylist()
    assert (run / "run.log").read_text() == "epoch 7, song1 was learnt\n"


@pytest.mark.parametrize("stops_at", range(6))
def test_a_stop_in_the_middle_leaves_every_file_whole(
    run: Path, monkeypatch: pytest.MonkeyPatch, stops_at: int
) -> None:
    before, real, calls = unpacked(run), os.replace, []

    def replace(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) > stops_at:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            forget(run, GONE)
    after = unpacked(run)
    assert not [file for file in after if file.name.startswith(rewriting.ASIDE)]
    changed = [file for file in before if after[file] != before[file]]
    assert len(changed) <= stops_at
    assert forget(run, GONE) == 0


def test_the_next_run_leaves_them_out_of_a_source_that_still_has_them(run: Path, tmp_path: Path) -> None:
    data, users = tmp_path / "data", [*GONE, *STAYS]
    data.mkdir()
    pq.write_table(
        pa.table({"song_id": SONGS, "attribute_genre": ["rock"] * 12, "attribute_mood": ["calm"] * 12}),
        data / "songs.parquet",
    )
    pq.write_table(plays(users), data / "plays.parquet")
    assert contract.prepare(data, tmp_path / "elsewhere").num_users == 6
    assert forget(run, [*GONE[:2], "not here yet"]) == 0
    assert not any(user in (run / NAME).read_text() for user in GONE)
    found = contract.prepare(data, run / "refresh" / "input")
    assert found.num_users == 4 and "24 plays of 2 forgotten listeners are left out." in found.notes
    left = pq.read_table(run / "refresh" / "input" / contract.PLAYS)["user_id"].to_pylist()
    assert set(left) == {GONE[2], *STAYS}
    assert forget(run, [GONE[2]]) == 0  # where the input was prepared already, it is prepared anew
    assert contract.prepare(data, run / "refresh" / "input").num_users == 3
    (run / NAME).write_text("{}")
    with pytest.raises(contract.ContractError, match="expected the list of forgotten listeners"):
        contract.prepare(data, run / "refresh" / "input")


def test_given_lists_lose_them_before_a_run(run: Path, tmp_path: Path) -> None:
    given, aside = tmp_path / "vectors.parquet", run / "listeners.parquet"
    pq.write_table(plays(GONE + STAYS, pa.large_string()), given)
    assert without_forgotten(given, aside) == given
    assert forget(run, GONE) == 0
    assert without_forgotten(given, aside) == aside
    assert pq.read_table(aside)["user_id"].unique().to_pylist() == STAYS
    assert set(pq.read_table(given)["user_id"].to_pylist()) == {*GONE, *STAYS}


def test_forgetting_includes_the_data(run: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "songs.csv").write_text("song_id,attribute_genre\n" + "".join(f"{song},rock\n" for song in SONGS))
    rows = [f"{song};{user}\n" for user in ("first-user", "second-user") for song in SONGS]
    (data / "plays.csv").write_text("song_id;user_id\n" + "".join(rows))
    assert forget(run, ["second-user"], f"--data={data}") == 0
    assert (data / "plays.csv").read_text() == "song_id;user_id\n" + "".join(rows[:12])


def test_bad_input_is_one_line(run: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    for arguments, message in (
        ([str(tmp_path / "nowhere"), f"--users={tmp_path / 'empty.txt'}"], "Received: no such folder"),
        ([str(tmp_path), f"--users={tmp_path / 'empty.txt'}"], "Received: another folder"),
        ([str(run), f"--users={tmp_path / 'empty.txt'}"], "expected at least one id. Received: none"),
        ([str(run), f"--users={tmp_path / 'absent.txt'}"], "expected a text, CSV or Parquet file"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (run / NAME).exists()


@given(st.lists(any_text() | st.sampled_from(AWKWARD), min_size=2, max_size=8, unique=True), st.data())
@settings(max_examples=40, deadline=None)
def test_any_id_in_any_table(tmp_path_factory: pytest.TempPathFactory, users: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.lists(st.sampled_from(users), min_size=1, unique=True))
    path = tmp_path_factory.mktemp("any") / "targets.parquet"
    table = plays(users)
    if data.draw(st.booleans()):
        table = table.set_column(0, "user_id", table["user_id"].dictionary_encode())
    pq.write_table(table, path, row_group_size=7)
    wanted = Wanted(gone, set(users) - set(gone) | set(SONGS))
    assert holds(path, wanted) and rewriting.rewrite(path, wanted) == f"{12 * len(gone):,} rows"
    left = pq.read_table(path)
    assert set(left["user_id"].to_pylist()) == set(users) - set(gone)
    assert not still_held(path.parent, wanted)


@given(st.lists(any_text(), min_size=1, max_size=20, unique=True), st.lists(any_text(), max_size=5, unique=True))
@settings(max_examples=60, deadline=None)
def test_the_list_knows_its_listeners_and_no_other(listed: list[str], others: list[str]) -> None:
    forgotten = Forgotten.none().and_also(listed)
    users = pa.array([*others, None, *listed])
    assert forgotten.marks(users).tolist() == [user in listed for user in others] + [False] + [True] * len(listed)
    assert not Forgotten.none().marks(users).any()
    assert Forgotten.none().and_also(listed).hashes.isdisjoint(forgotten.hashes)  # another key


@given(st.binary(max_size=300), st.lists(any_text(12), min_size=1, max_size=5), st.data())
@settings(max_examples=100, deadline=None)
def test_bytes_are_found_wherever_they_stand(noise: bytes, ids: list[str], data: st.DataObject) -> None:
    wanted = Wanted(ids)
    place = data.draw(st.integers(0, len(noise)))
    for one in wanted.plain:
        assert any(wanted.hits(noise[:place] + one.encode() + noise[place:]))
    found = [noise[start:end] for start, end in wanted.hits(noise)]
    assert np.all([len(one) >= 6 for one in found])
