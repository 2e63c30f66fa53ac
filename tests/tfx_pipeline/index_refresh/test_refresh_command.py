"""The refresh command: new songs in, the next version out, and one message for bad input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.client import Client
from serving.refresh.saved_version import SavedVersion
from serving.refresh.takedown import RECORD, taken_down
from serving.server import EmbeddedServer
from tests.serving import small_export
from tests.small_disk import SmallDisk
from tfx_pipeline import refresh

SONGS = small_export.catalogue(30)
NEW = [{**song, "song_id": f"new-{number}"} for number, song in enumerate(small_export.catalogue(5, seed=1))]
TYPES = {
    "song_id": pa.string(),
    "attribute_genre": pa.string(),
    "attribute_tags": pa.list_(pa.string()),
    "audio_tempo": pa.float64(),
    "lyric_vector": pa.list_(pa.float32()),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_export.SmallExport(SONGS).export(tmp_path_factory.mktemp("export") / "1")


@pytest.fixture
def base(exported: Path, tmp_path: Path) -> Path:
    shutil.copytree(exported, tmp_path / "serving" / "1700000000")
    return tmp_path / "serving"


def write(path: Path, songs: list[dict[str, Any]], types: dict[str, pa.DataType] | None = None, **columns: Any) -> Path:
    schema = pa.schema({**TYPES, **(types or {})})
    table = pa.Table.from_pylist(songs, schema)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)
    return path


def run(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    code = refresh.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def versions(base: Path) -> list[str]:
    return sorted(name for name in os.listdir(base) if not name.startswith("."))


def test_new_songs_are_added_and_old_ones_keep_their_embeddings(base: Path, tmp_path: Path, capsys: Any) -> None:
    songs = write(tmp_path / "new.parquet", [*NEW, SONGS[2]], title=["x"] * 6, attribute_label=["y"] * 6)
    (tmp_path / "gone.txt").write_text("song-1\nsong-7\n")
    code, out, error = run(capsys, base, "--songs", songs, "--drop", tmp_path / "gone.txt")
    assert (code, error) == (0, "")
    assert out == (
        "not read, because the model was trained without them: attribute_label\n"
        f"added 5, dropped 2, kept 28: {base / '1700000001'}\n"
    )
    assert versions(base) == ["1700000000", "1700000001"]
    with SavedVersion(str(base / "1700000000")) as old, SavedVersion(str(base / "1700000001")) as new:
        before = dict(zip(old.index.names(), old.index.embeddings, strict=True))
        after = dict(zip(new.index.names(), new.index.embeddings, strict=True))
    assert set(after) == (set(before) - {"song-1", "song-7"}) | {song["song_id"] for song in NEW}
    for name in set(after) & set(before):
        assert after[name].tobytes() == before[name].tobytes()
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(base)) as server,
        Client(server.target) as client,
    ):
        np.testing.assert_allclose(client.embed(NEW), np.stack([after[song["song_id"]] for song in NEW]), atol=1e-5)
        assert client.match(NEW, k=1, exclude=[None] * 5)[0][:, 0].tolist() == [song["song_id"] for song in NEW]


def test_a_catalogue_is_followed_and_a_second_run_changes_nothing(base: Path, tmp_path: Path, capsys: Any) -> None:
    songs = write(tmp_path / "songs.parquet", [*SONGS[3:], *NEW])
    assert run(capsys, base, "--songs", songs, "--catalogue")[:2] == (
        0,
        f"added 5, dropped 3, kept 27: {base / '1700000001'}\n",
    )
    assert run(capsys, base, "--songs", songs, "--catalogue")[:2] == (
        0,
        "added 0, dropped 0, kept 32: nothing to publish\n",
    )
    assert versions(base) == ["1700000000", "1700000001"]


def test_songs_without_known_values_are_named(base: Path, tmp_path: Path, capsys: Any) -> None:
    bare = [{"song_id": f"bare-{number}", "attribute_genre": "unheard"} for number in range(12)]
    code, out, _ = run(capsys, base, "--songs", write(tmp_path / "new.parquet", [*bare, *NEW]))
    assert code == 0 and out.splitlines()[1:] == [
        "added, but the model knows no value of them: 12 songs "
        "(bare-0, bare-1, bare-2, bare-3, bare-4, bare-5, bare-6, bare-7, bare-8, bare-9, ...)"
    ]


def test_an_integer_index_takes_integers(tmp_path: Path, capsys: Any) -> None:
    small_export.SmallExport(SONGS, integer_ids=True).export(tmp_path / "serving" / "1")
    base = tmp_path / "serving"
    numbered = [{**song, "song_id": 50 + number} for number, song in enumerate(NEW)]
    songs = write(tmp_path / "new.parquet", numbered, {"song_id": pa.int64()})
    assert run(capsys, base, "--songs", songs)[:2] == (0, f"added 5, dropped 0, kept 30: {base / '2'}\n")
    named = write(tmp_path / "named.parquet", NEW)
    code, _, error = run(capsys, base, "--songs", named)
    assert code == 2 and error == (
        f"{named}: column `song_id`, row 0 (counted from 0): expected an integer of 0 or more without leading zeros, "
        "as the index has. Received: 'new-0'.\n"
    )


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no song_id": ({"drop": "song_id"}, "expected a column `song_id`. Received: the columns attribute_genre, "),
    "integer ids": (
        {"types": {"song_id": pa.int64()}, "songs": [{**NEW[0], "song_id": 5}]},
        "column `song_id`: expected strings, as the index has. Received: int64.",
    ),
    "missing field": (
        {"drop": "audio_tempo"},
        "column `audio_tempo`: expected a column of kind number, which the model was trained on. Received: no such "
        "column. Where no song has a value, write a column of nulls.",
    ),
    "other kind": (
        {"types": {"audio_tempo": pa.string()}, "songs": [{**NEW[0], "audio_tempo": "fast"}]},
        "column `audio_tempo`: expected a column of kind number, which the model was trained on. Received: category "
        "(string).",
    ),
    "unsupported type": (
        {"types": {"audio_tempo": pa.bool_()}, "songs": [{**NEW[0], "audio_tempo": True}]},
        "column `audio_tempo`: expected string (category)",
    ),
    "null id": (
        {"songs": [NEW[0], {**NEW[1], "song_id": None}]},
        "column `song_id`, row 1 (counted from 0): expected an id. Received: null.",
    ),
    "repeated id": (
        {"songs": [NEW[0], NEW[1], NEW[0]]},
        "column `song_id`, row 2 (counted from 0): expected each song once. Received: 'new-0', which row 0 has "
        "already.",
    ),
    "infinite number": (
        {"songs": [NEW[0], {**NEW[1], "audio_tempo": float("inf")}]},
        "column `audio_tempo`, row 1 (counted from 0): expected finite numbers within float32",
    ),
    "vector of another length": (
        {"songs": [NEW[0], NEW[1], {**NEW[2], "lyric_vector": [1.0, 2.0]}]},
        "column `lyric_vector`, row 2 (counted from 0): expected vectors of length 3, as the model was trained on. "
        "Received: length 2.",
    ),
    "no songs": ({"songs": []}, "expected at least one song. Received: no rows."),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_songs_end_with_one_message_and_publish_nothing(base: Path, tmp_path: Path, capsys: Any, name: str) -> None:
    how, text = BAD[name]
    path = write(tmp_path / "new.parquet", how.get("songs", NEW), how.get("types"))
    if "drop" in how:
        pq.write_table(pq.read_table(path).drop([how["drop"]]), path)
    code, out, error = run(capsys, base, "--songs", path)
    assert (code, out) == (2, "")
    assert error.startswith(f"{path}: ") and text in error and len(error.splitlines()) == 1
    assert versions(base) == ["1700000000"] and not (base / ".refreshing").exists()


def test_songs_may_be_a_folder_of_parts(base: Path, tmp_path: Path, capsys: Any) -> None:
    parts = tmp_path / "new.parquet"
    parts.mkdir()
    tempo = {"audio_tempo": pa.float32(), "song_id": pa.large_string()}
    write(parts / "part-0.parquet", NEW[:3])
    write(parts / "part-1.parquet", NEW[3:], tempo)
    write(parts / "part-2.parquet", [])
    (parts / "_SUCCESS").write_bytes(b"")
    code, out, error = run(capsys, base, "--songs", parts)
    assert (code, error, out) == (0, "", f"added 5, dropped 0, kept 30: {base / '1700000001'}\n")
    write(parts / "part-3.parquet", [{**NEW[0], "song_id": "other"}, NEW[1]])
    code, _, error = run(capsys, base, "--songs", parts)
    assert code == 2 and error.startswith(f"{parts / 'part-3.parquet'}: column `song_id`, row 1 (counted from 0): ")
    assert f"'new-1', which row 1 of {parts / 'part-0.parquet'} has already" in error


def test_a_null_list_of_a_fixed_size_is_a_missing_vector(base: Path, tmp_path: Path, capsys: Any) -> None:
    songs = [dict(song) for song in NEW[:3]]
    songs[0]["lyric_vector"] = songs[2]["lyric_vector"] = None
    length = len(songs[1]["lyric_vector"])
    path = write(tmp_path / "new.parquet", songs, {"lyric_vector": pa.list_(pa.float32(), length)})
    code, out, error = run(capsys, base, "--songs", path)
    assert (code, error) == (0, "") and out.startswith("added 3")
    plain = write(tmp_path / "plain.parquet", songs)
    assert "added 0" in run(capsys, base, "--songs", plain)[1]


def test_files_that_cannot_be_read(base: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "new.csv").write_text("song_id\nx\n")
    assert "expected a Parquet file. Received: " in run(capsys, base, "--songs", tmp_path / "new.csv")[2]
    assert "expected a Parquet file. Received: " in run(capsys, base, "--songs", tmp_path / "nowhere.parquet")[2]
    error = run(capsys, base, "--drop", tmp_path / "nowhere.txt")[2]
    assert "expected a text, CSV or Parquet file with an id in each row. Received: No such file" in error
    (tmp_path / "gone.txt").write_text("\n")
    assert "expected at least one id. Received: none." in run(capsys, base, "--drop", tmp_path / "gone.txt")[2]
    assert versions(base) == ["1700000000"]


def test_arguments_that_do_not_fit(base: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(capsys, base)[::2] == (2, "--songs, --drop, --restore: expected at least one of them. Received: none\n")
    (tmp_path / "gone.txt").write_text("song-1\n")
    assert "--catalogue: expected --songs" in run(capsys, base, "--drop", tmp_path / "gone.txt", "--catalogue")[2]
    songs = write(tmp_path / "new.parquet", NEW)
    error = run(capsys, base, "--songs", songs, "--catalogue")[2]
    assert error == (
        "index: expected a catalogue that lacks at most 20% of its 30 songs (`max_dropped`). Received: one that lacks "
        "30 of them\n"
    )
    assert "expected version folders such as 1/. Received: none" in run(capsys, tmp_path, "--songs", songs)[2]
    with pytest.raises(SystemExit):
        refresh.main([str(base), "--songs", str(songs), "--max-dropped", "2"])
    assert "must be between 0 and 1. Received: '2'" in capsys.readouterr().err
    shutil.rmtree(base / "1700000000" / "variables")
    code, _, error = run(capsys, base, "--songs", songs)
    assert code == 2 and "expected a model with readable variables. Received: " in error
    assert versions(base) == ["1700000000"]


def test_a_missing_value_stays_missing(base: Path, tmp_path: Path, capsys: Any) -> None:
    """A column of nulls, an empty list and a vector with a gap are what the contract calls missing."""
    empty = {"song_id": "empty", "lyric_vector": [1.0, None, 2.0], "attribute_tags": [], "attribute_genre": ""}
    path = write(tmp_path / "new.parquet", [empty], {"audio_tempo": pa.null()})
    assert run(capsys, base, "--songs", path)[0] == 0
    with (
        SavedVersion(str(base / "1700000001")) as version,
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(base)) as server,
        Client(server.target) as client,
    ):
        np.testing.assert_allclose(version.index.embeddings[-1:], client.embed({}), atol=1e-6)


@pytest.mark.slow
def test_the_command_prints_one_line(base: Path, tmp_path: Path) -> None:
    songs = write(tmp_path / "new.parquet", NEW)
    command = [sys.executable, "-m", "tfx_pipeline.refresh", str(base), "--songs", str(songs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"added 5, dropped 0, kept 30: {base / '1700000001'}\n"), done.stderr
    assert done.stderr == ""


def index_of(version: Path) -> set[str]:
    with SavedVersion(str(version)) as opened:
        return set(opened.index.names())


def test_a_list_from_another_system_drops_every_song_of_it(base: Path, tmp_path: Path, capsys: Any) -> None:
    """A byte order mark and carriage returns once cost a song of the list, and nobody was told."""
    (tmp_path / "gone.txt").write_bytes("\ufeffsong-1\r\n song-7 \r\n\r\nsong-9".encode("utf-16"))
    code, out, _ = run(capsys, base, "--drop", tmp_path / "gone.txt")
    assert (code, out) == (0, f"added 0, dropped 3, kept 27: {base / '1700000001'}\n")
    assert index_of(base / "1700000001") == {song["song_id"] for song in SONGS} - {"song-1", "song-7", "song-9"}


def test_unknown_ids_stop_the_command_unless_they_may_be_missing(base: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "gone.txt").write_text("song-1\nsong-01\n")
    code, _, error = run(capsys, base, "--drop", tmp_path / "gone.txt")
    assert code == 2 and len(error.splitlines()) == 1
    assert "Received: 1 of 2 that are unknown: 'song-01'." in error and versions(base) == ["1700000000"]
    assert not (base / RECORD).exists()
    code, out, _ = run(capsys, base, "--drop", tmp_path / "gone.txt", "--ignore-missing")
    assert (code, out) == (
        0,
        "not in the index, and kept out of later versions: 1 (song-01)\n"
        f"added 0, dropped 1, kept 29: {base / '1700000001'}\n",
    )
    assert taken_down(base) == {"song-1", "song-01"}


def test_a_song_that_was_taken_down_stays_away_until_it_is_restored(base: Path, tmp_path: Path, capsys: Any) -> None:
    """Also where the catalogue still has it, as it does every night."""
    (tmp_path / "gone.txt").write_text("song-1\nnew-2\n")
    songs = write(tmp_path / "songs.parquet", [*SONGS, *NEW])
    assert run(capsys, base, "--songs", songs, "--drop", tmp_path / "gone.txt")[0] == 0
    assert taken_down(base) == {"song-1", "new-2"}
    for more in ((), ("--catalogue",)):
        code, out, _ = run(capsys, base, "--songs", songs, *more)
        assert (code, out) == (
            0,
            "not added, because they were taken down: 2 of --songs (new-2, song-1)\n"
            "added 0, dropped 0, kept 33: nothing to publish\n",
        )
    (tmp_path / "back.txt").write_text("new-2\n")
    code, out, _ = run(capsys, base, "--songs", songs, "--restore", tmp_path / "back.txt")
    assert (code, out.splitlines()[-1]) == (0, f"added 1, dropped 0, kept 33: {base / '1700000002'}")
    assert taken_down(base) == {"song-1"} and "new-2" in index_of(base / "1700000002")
    error = run(capsys, base, "--restore", tmp_path / "back.txt")[2]
    assert "expected ids of songs that were taken down. Received: 1 of 1 that are unknown: 'new-2'." in error


def test_a_damaged_record_brings_no_song_back(base: Path, tmp_path: Path, capsys: Any) -> None:
    songs = write(tmp_path / "songs.parquet", NEW)
    for text in ("", "[]", '{"song_ids": "song-1"}', '{"song_ids": [1]}'):
        (base / RECORD).write_text(text)
        code, _, error = run(capsys, base, "--songs", songs)
        assert code == 2 and error.startswith(f"{base / RECORD}: expected ") and len(error.splitlines()) == 1
    assert versions(base) == ["1700000000"]


def test_a_full_disk_publishes_nothing_and_leaves_nothing(
    exported: Path, small_disk: SmallDisk, tmp_path: Path, capsys: Any
) -> None:
    base = small_disk.folder / "serving"
    shutil.copytree(exported, base / "1700000000")
    before, whole = small_disk.files(), sum(path.stat().st_size for path in exported.rglob("*"))
    songs = write(tmp_path / "new.parquet", NEW)
    (tmp_path / "gone.txt").write_text("song-1\n")
    for share in (0, 0.3, 0.6, 0.9):
        small_disk.leave(int(share * whole))
        code, out, error = run(capsys, base, "--songs", songs, "--drop", tmp_path / "gone.txt")
        assert (code, out, len(error.splitlines())) == (2, "", 1), share
        assert "No space left on device" in error and str(base) in error
        assert small_disk.files() == before
    small_disk.leave(4 * whole)
    assert run(capsys, base, "--songs", songs, "--drop", tmp_path / "gone.txt")[0] == 0


def test_versions_and_their_folder_may_be_links(exported: Path, tmp_path: Path, capsys: Any) -> None:
    base = tmp_path / "models" / "bcl"
    base.mkdir(parents=True)
    (base / "5").symlink_to(os.path.relpath(exported, base))
    (tmp_path / "serving").symlink_to(base)
    (tmp_path / "gone.txt").write_text("song-1\n")
    before = sorted(path.name for path in exported.rglob("*"))
    assert run(capsys, tmp_path / "serving", "--drop", tmp_path / "gone.txt")[0] == 0
    assert (base / "6").is_dir() and not (base / "6").is_symlink() and "song-1" not in index_of(base / "6")
    assert sorted(path.name for path in exported.rglob("*")) == before and "song-1" in index_of(base / "5")
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(tmp_path / "serving")) as server,
        Client(server.target) as client,
    ):
        assert [(status.version, status.state) for status in client.status()] == [(6, "AVAILABLE")]

    (base / "9").symlink_to("nowhere")
    code, _, error = run(capsys, tmp_path / "serving", "--drop", tmp_path / "gone.txt")
    assert (code, error) == (
        2,
        f"{tmp_path / 'serving' / '9'}: expected a version folder, or a link to one. Received: a link to nowhere, "
        "which is no folder. Remove the link or mend it\n",
    )


def test_old_versions_go_after_the_new_one_is_there(base: Path, tmp_path: Path, capsys: Any) -> None:
    shutil.copytree(base / "1700000000", base / "5")
    shutil.copytree(base / "1700000000", base / "7")
    (tmp_path / "gone.txt").write_text("song-1\n")
    labels = 'version_labels { key: "canary" value: 5 }'
    models = tmp_path / "models.config"
    models.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: "tensorflow" {labels} }} }}'
    )
    drop = [base, "--drop", tmp_path / "gone.txt", "--keep_versions"]
    code, out, _ = run(capsys, *drop, 2, "--model_config_file", models)
    assert (code, out.splitlines()[-1]) == (0, "versions removed: 7")
    assert versions(base) == ["1700000000", "1700000001", "5"]
    code, out, _ = run(capsys, *drop, 1)  # nothing to publish
    assert (code, out.splitlines()[-1]) == (0, "versions removed: 5, 1700000000")
    assert versions(base) == ["1700000001"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keep-versions", "0"], "--keep-versions: expected at least 1. Received: 0"),
        (["--model-config-file", "m"], "--model-config-file: expected --keep-versions with it. Received: no"),
        (["--keep-versions", "2", "--model-config-file", "missing"], "NOT_FOUND: missing; No such file"),
    ],
)
def test_versions_that_cannot_be_kept_so(
    options: list[str], message: str, base: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "gone.txt").write_text("song-1\n")
    code, out, error = run(capsys, base, "--drop", tmp_path / "gone.txt", *options)
    assert (code, out) == (2, "") and error.startswith(message) and error.count("\n") == 1
    assert versions(base) == ["1700000000"]
