"""`refresh --targets`: added songs are matched and targeted with the rules of the last run."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.files.folder_lock import only_process_in
from tests.serving import small_export
from tests.tfx_pipeline.outputs.small_result import write_embeddings, write_matches, write_summary, write_targets
from tfx_pipeline import ask, contract, refresh
from tfx_pipeline.outputs.publishing import publish
from tfx_pipeline.outputs.run_result import RunResult
from tfx_pipeline.outputs.schemas import TABLES
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.targeting import TargetingConfig
from tfx_pipeline.targeting.rules.score_range import about_scores, score_range

pytestmark = pytest.mark.pipeline  # the whole targeting in Beam

SONGS = small_export.catalogue(30)
#: "played" is new to the index and has a listener; of "bare" and "empty" the model knows nothing.
NEW = [
    *({**song, "song_id": f"new {number} \u05e9"} for number, song in enumerate(small_export.catalogue(6, seed=1))),
    {**SONGS[4], "song_id": "played"},
    {"song_id": "bare", "attribute_genre": "unheard"},
    {"song_id": "empty", "attribute_tags": [], "lyric_vector": None},
]
UNKNOWN = {"bare", "empty"}
TYPES = {
    "song_id": pa.string(),
    "title": pa.string(),
    "attribute_genre": pa.string(),
    "attribute_tags": pa.list_(pa.string()),
    "audio_tempo": pa.float64(),
    "lyric_vector": pa.list_(pa.float32()),
}
USERS = [f"listener-{number:02d}" for number in range(24)]
CONFIG = TargetingConfig(listeners_per_song=6, cap=2, count_weight=0.2, matches_per_song=10, held_aside=0.25)


def write_songs(file: Path, songs: list[dict[str, Any]]) -> Path:
    titled = [{**song, "title": f"Title of {song['song_id']}"} for song in songs]
    pq.write_table(pa.Table.from_pylist(titled, pa.schema(TYPES)), file)
    return file


def plays_of(rng: np.random.Generator) -> list[tuple[str, str]]:
    pairs = [(user, f"song-{song}") for user in USERS for song in rng.choice(30, 8, replace=False)]
    return [*pairs, (USERS[5], "played"), (USERS[6], "played")]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose model was pushed and whose tables were published."""
    home = tmp_path_factory.mktemp("of refresh")
    data, folder = home / "data", RunFolder.at(home / "run")
    data.mkdir()
    write_songs(data / "songs.parquet", [*SONGS, NEW[6]])
    users, songs = zip(*plays_of(np.random.default_rng(2)), strict=True)
    pq.write_table(pa.table({"user_id": users, "song_id": songs}), data / "plays.parquet")
    contract.prepare(data, folder.input)
    small_export.SmallExport(SONGS).export(folder.serving / "1700000000")
    (folder.home / "given.txt").write_text(f"{USERS[0]}\n{USERS[1]}\n")
    writers = {
        "targets": write_targets,
        "matches": write_matches,
        "embeddings": write_embeddings,
        "songs_summary": write_summary,
    }
    page = folder.home / "page.html"
    page.write_text("page")
    result = RunResult(
        run_id="2026-11-01T03:04:05.000006",
        artifacts="a",
        parts={name: (write(home / "parts" / f"{name}.parquet", []),) for name, write in writers.items()},
        page=page,
        pushed=folder.serving / "1700000000",
        refused_because=(),
        checks={},
        targeting=about_scores(CONFIG),
    )
    settings = {"targeting": {**asdict(CONFIG), "count_weight": "auto"}}  # as asked for; the run chose 0.2
    publish(folder, result, settings, {"exclusions": folder.home / "given.txt", "listeners": None})
    return folder.home


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path / "moved run", symlinks=True)
    return tmp_path / "moved run"


def run(home: Path, *arguments: object) -> int:
    return refresh.main([str(home / "serving"), *map(str, arguments)])


@pytest.fixture(scope="module")
def refreshed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run after a refresh that added songs and took one down."""
    home = tmp_path_factory.mktemp("after refresh") / "run"
    shutil.copytree(prepared, home, symlinks=True)
    (home.parent / "gone.txt").write_text("song-3\n")
    songs = write_songs(home.parent / "new.parquet", [*NEW, SONGS[2]])
    assert run(home, "--songs", songs, "--drop", home.parent / "gone.txt", "--targets") == 0
    return home


@pytest.fixture(scope="module")
def tables(refreshed: Path) -> dict[str, list[dict[str, Any]]]:
    out = refreshed / "refreshed" / "1700000001"
    assert {path.name for path in out.iterdir()} == {"manifest.json", *(table.file for table in TABLES)}
    for table in TABLES:
        assert pq.read_schema(out / table.file).equals(table.schema), table.name
    return {table.name: pq.read_table(out / table.file).to_pylist() for table in TABLES}


def test_matches_are_those_of_the_model(tables: dict[str, list[dict[str, Any]]]) -> None:
    model = small_export.SmallExport(SONGS)
    matches = {row["song_id"]: row for row in tables["matches"]}
    assert list(matches) == [song["song_id"] for song in NEW] == [row["song_id"] for row in tables["embeddings"]]
    for song in NEW:
        row = matches[song["song_id"]]
        assert (row["split"], row["title"]) == ("new", f"Title of {song['song_id']}")
        scores = dict(zip(model.ids, (model.embed([song]) @ model.index.T)[0], strict=True))
        del scores["song-3"]
        if song["song_id"] in UNKNOWN:
            assert row["match_ids"] == row["match_scores"] == row["match_titles"] == []
            continue
        assert set(row["match_ids"]) == set(scores)
        np.testing.assert_allclose(row["match_scores"], sorted(scores.values(), reverse=True), atol=1e-5)
        np.testing.assert_allclose(row["match_scores"], [scores[match] for match in row["match_ids"]], atol=1e-5)
        assert row["match_titles"] == [f"Title of {match}" for match in row["match_ids"]]
        assert np.abs(row["match_scores"]).max() <= 1 + 1e-6


def test_targets_keep_the_rules_of_the_run(tables: dict[str, list[dict[str, Any]]]) -> None:
    targets, heard = tables["targets"], {(user, song) for user, song in plays_of(np.random.default_rng(2))}
    songs = {row["song_id"] for row in targets}
    assert songs and not songs & UNKNOWN
    assert not {row["user_id"] for row in targets} & set(USERS[:2])  # excluded
    assert not {(row["user_id"], row["song_id"]) for row in targets} & heard  # own listeners
    assert max(Counter(row["user_id"] for row in targets).values()) <= 2
    assert max(Counter(row["song_id"] for row in targets).values()) <= 6
    assert {row["group"] for row in targets} == {"target", "held_aside"}
    least, most = score_range(CONFIG)
    assert least <= min(row["score"] for row in targets) <= max(row["score"] for row in targets) <= most
    for row in targets:
        assert "song-3" not in row["reason_song_ids"]
        assert {(row["user_id"], song) for song in row["reason_song_ids"]} <= heard
        expected = row["part_vector"] + 0.2 * np.log1p(row["part_count"] / best_match(tables, row["song_id"]))
        assert row["score"] == pytest.approx(expected, abs=1e-5)
    statuses = {row["song_id"]: row["status"] for row in tables["songs_summary"]}
    assert set(statuses) == {song["song_id"] for song in NEW}
    assert {song for song, status in statuses.items() if status == "no matches"} == UNKNOWN
    assert {song for song, status in statuses.items() if status == "targeted"} == songs


def best_match(tables: dict[str, list[dict[str, Any]]], song_id: str) -> float:
    return next(row["match_scores"][0] for row in tables["matches"] if row["song_id"] == song_id)


def test_the_manifest_and_questions_about_a_song(
    refreshed: Path, tables: dict[str, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((refreshed / "refreshed" / "1700000001" / "manifest.json").read_text())
    assert (manifest["run_id"], manifest["model"]) == ("2026-11-01T03-04-05.000006", {"version": "1700000001"})
    assert manifest["counts"]["rows"]["matches"] == len(NEW)
    assert manifest["counts"]["songs_by_status"]["no matches"] == len(UNKNOWN)
    assert manifest["targeting"] == about_scores(CONFIG)
    assert not any(user in json.dumps(manifest) for user in USERS)
    song = tables["targets"][0]["song_id"]
    assert ask.main([str(refreshed), "--song", song, "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model_version"] == "1700000001" and answer["title"] == f"Title of {song}"
    assert [row["user_id"] for row in answer["listeners"]] == [
        row["user_id"] for row in tables["targets"] if row["song_id"] == song
    ]
    assert ask.main([str(refreshed), "--song", "bare"]) == 0
    assert "No matches and no listeners: the model knows no value of this song." in capsys.readouterr().out


def test_its_output_and_that_of_a_second_run(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    songs = write_songs(tmp_path / "new.parquet", NEW[-1:])  # nothing is known of it: the targeting is quick
    assert run(home, "--songs", songs, "--targets") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"added 1, dropped 0, kept 30: {home / 'serving' / '1700000001'}",
        "added, but the model knows no value of them: 1 songs (empty)",
        f"targets: 0 listeners for 0 of 1 songs: {home / 'refreshed' / '1700000001'}",
        "  1 songs without: no matches",
    ]
    assert run(home, "--songs", songs, "--targets") == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["targets: none, as no song was added"]


def without_manifest(home: Path) -> None:
    (home / "latest").unlink()


def earlier(home: Path) -> None:
    manifest = home / "latest" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "targeting": None}))


def without_list(home: Path) -> None:
    (home / "given.txt").unlink()


def without_plays(home: Path) -> None:
    shutil.rmtree(home / "input" / "plays")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_manifest, "{home}: expected a run that pushed a model."),
        (earlier, "expected a manifest.json with the rules of the targeting."),
        (
            without_list,
            "{home}/given.txt: expected the exclusions that the last run was given. Received: no such file.",
        ),
        (without_plays, "{home}/input/plays/plays.parquet: expected the plays that the last run read."),
    ],
)
def test_a_run_that_cannot_be_followed(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], message: str
) -> None:
    songs = write_songs(tmp_path / "new.parquet", NEW)
    spoil(home)
    assert run(home, "--songs", songs, "--targets") == 2
    out, error = capsys.readouterr()
    assert message.format(home=home) in error and not out and len(error.splitlines()) == 1
    assert [path.name for path in (home / "serving").glob("[!.]*")] == ["1700000000"]
    assert not (home / "refreshed").exists()


def test_bad_arguments(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    songs = write_songs(tmp_path / "new.parquet", NEW)
    assert run(home, "--drop", songs, "--targets") == 2
    assert (
        capsys.readouterr().err == "--targets: expected --songs with it, which names the songs. Received: no --songs\n"
    )
    assert run(home, "--songs", songs, "--exclusions", songs) == 2
    assert "--exclusions: expected --targets with it." in capsys.readouterr().err
    (home / "serving").rename(tmp_path / "serving elsewhere")
    assert refresh.main([str(tmp_path / "serving elsewhere"), "--songs", str(songs), "--targets"]) == 2
    assert "--targets: expected SERVING_DIR to be the folder `serving` of a run." in capsys.readouterr().err
    (tmp_path / "serving elsewhere").rename(home / "serving")
    with only_process_in(home):
        assert run(home, "--songs", songs, "--targets") == 2
    assert f"--targets: {home}: expected a folder that no other run uses." in capsys.readouterr().err


def test_an_error_of_the_targeting_leaves_nothing(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"user_id": ["a"], "song_id": [""]}), tmp_path / "exclusions.parquet")
    songs = write_songs(tmp_path / "new.parquet", NEW)
    assert run(home, "--songs", songs, "--targets", "--exclusions", tmp_path / "exclusions.parquet") == 2
    out, error = capsys.readouterr()
    assert not out and error.startswith("targets: `song_id` of `exclusions` must hold ids") and error.count("\n") == 1
    assert not (home / "refreshed").exists()
    assert [path.name for path in (home / "serving").glob("[!.]*")] == ["1700000000"]


def test_a_refresh_that_was_killed_is_finished_or_forgotten(refreshed: Path, tmp_path: Path) -> None:
    """After `kill -9` between the version and the targets, and before both."""
    home = tmp_path / "run"
    shutil.copytree(refreshed, home, symlinks=True)
    named = home / "refreshed" / "1700000001"
    shutil.copytree(named, home / "refreshed" / ".1700000002.writing")
    named.rename(home / "refreshed" / ".1700000001.writing")
    (home / "refreshed" / "1600000000").mkdir()  # of a model before the last push
    songs = write_songs(tmp_path / "new.parquet", [{**NEW[-1], "song_id": "another"}])
    assert run(home, "--songs", songs, "--targets") == 0
    found = sorted(path.name for path in (home / "refreshed").iterdir())
    assert found == ["1700000001", "1700000002"]
    assert pq.read_table(named / "matches.parquet").num_rows == len(NEW)
    assert pq.read_table(home / "refreshed" / "1700000002" / "matches.parquet").num_rows == 1
