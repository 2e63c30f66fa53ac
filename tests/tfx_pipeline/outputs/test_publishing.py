"""What a run publishes: whole, under one address, with titles, and nothing where it has nothing new."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.files.folder_lock import FolderError
from tests.any_text import AWKWARD, LONG
from tests.small_disk import SmallDisk
from tests.tfx_pipeline.outputs.small_result import (
    PARTS,
    RELIABILITY,
    SETTINGS,
    USERS,
    refused,
    small_input,
    small_result,
    write_embeddings,
    write_matches,
)
from tfx_pipeline import contract
from tfx_pipeline.outputs import merging
from tfx_pipeline.outputs.publishing import outcome, point_latest, publish
from tfx_pipeline.outputs.schemas import EMBEDDINGS, MATCHES, TABLES
from tfx_pipeline.outputs.titles import Titles

FILES = {"targets.parquet", "matches.parquet", "embeddings.parquet", "songs_summary.parquet", "run.html"}


def results_of(*arguments: Any) -> Path:
    """Publishes, and returns the folder, which there must be."""
    out = publish(*arguments)
    assert out is not None
    return out


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_latest_has_every_table_whole_with_titles(tmp_path):
    folder, result = small_result(tmp_path)
    out = results_of(folder, result, SETTINGS)
    assert out == folder.history / "2026-11-01T03-04-05.000006"
    assert os.readlink(folder.latest) == "history/2026-11-01T03-04-05.000006"
    assert set(os.listdir(folder.latest)) == FILES | {"manifest.json"}
    assert sorted(os.listdir(folder.history)) == [out.name]
    for table in TABLES:
        assert pq.read_schema(folder.latest / table.file).equals(table.schema)
    targets = pq.read_table(folder.latest / "targets.parquet").to_pylist()
    assert [(row["user_id"], row["rank"], row["title"]) for row in targets] == [
        (user, rank, "Neu \u05e9\u05dc\u05d5\u05dd") for rank, user in enumerate(USERS, 1)
    ]
    matches = {row["song_id"]: row for row in pq.read_table(folder.latest / "matches.parquet").to_pylist()}
    assert list(matches) == ["n1", "n2", "v1"]
    assert matches["n1"]["match_titles"] == ["First\nline", "B"]  # where the title is empty, the artist
    assert matches["n2"]["title"] is None and matches["v1"]["title"] == "Held out"
    assert matches["n1"]["match_scores"] == pytest.approx([0.9, -0.25])
    shares = matches["n1"]["match_shares"]
    assert [sum(of_match) for of_match in shares] == pytest.approx(matches["n1"]["match_scores"])
    assert matches["n1"]["share_names"] == PARTS and matches["n2"]["match_shares"] is None
    # See `small_result.RELIABILITY`; of v1 nothing is known.
    assert matches["n1"]["reliability"] == pytest.approx(1 / (1 + math.exp(-2)))
    assert (matches["n2"]["reliability"], matches["v1"]["reliability"]) == (0.5, 0.0)
    assert (
        pq.read_table(folder.latest / "songs_summary.parquet")["status"].to_pylist()[1] == "matches have no listeners"
    )
    assert (folder.latest / "run.html").read_text() == "<!doctype html>page"


def test_without_a_fit_there_is_no_reliability(tmp_path):
    folder, result = small_result(tmp_path)
    publish(folder, replace(result, reliability=None), SETTINGS)
    assert pq.read_table(folder.latest / "matches.parquet")["reliability"].null_count == 3


def test_the_manifest_describes_the_run_and_names_no_listener(tmp_path):
    folder, result = small_result(tmp_path)
    publish(folder, result, SETTINGS)
    text = (folder.latest / "manifest.json").read_text()
    found = json.loads(text)
    assert found["schema_version"] == 1 and found["published"] and found["not_published_because"] == []
    assert (found["run_id"], found["tfx_run_id"]) == ("2026-11-01T03-04-05.000006", "2026-11-01T03:04:05.000006")
    assert found["model"] == {"version": "1761966245"}
    assert found["reliability"] == RELIABILITY
    assert found["settings"] == SETTINGS and found["checks"] == result.checks
    assert len(found["code"]["fingerprint"]) == 32 and "commit" in found["code"]
    assert found["counts"] == {
        "input": {"songs": 5, "users": 3, "plays": 6},
        "rows": {"targets": 3, "matches": 3, "embeddings": 5, "songs_summary": 2},
        "embeddings_by_split": {"warm": 2, "new": 2, "val": 1},
        "matches_by_split": {"new": 2, "val": 1},
        "songs_of_which_nothing_is_known": 0,
    }
    assert found["targeting"] is None  # as of a run that says nothing of it
    assert not any(user in text for user in USERS)
    for table in ("matches", "embeddings", "songs_summary"):
        assert not any(user in repr(pq.read_table(folder.latest / f"{table}.parquet").to_pylist()) for user in USERS)


def test_the_manifest_has_the_rules_of_the_targeting(tmp_path):
    folder, result = small_result(tmp_path)
    given = {"exclusions": folder.home / "exclusions.parquet", "listeners": Path("/elsewhere/vectors.parquet")}
    shown = {"count_weight": 0.1, "match_scores": [-1, 1], "target_scores": [-1, 1.5]}
    publish(folder, replace(result, targeting=shown), SETTINGS, given)
    named = {"exclusions": "exclusions.parquet", "listeners": "/elsewhere/vectors.parquet"}
    assert manifest_of(folder.latest)["targeting"] == {**shown, **named}


def test_songs_without_known_values_are_counted(tmp_path):
    folder, result = small_result(tmp_path)
    unknown = {"song_id": "n3", "split": "new", "match_ids": [], "match_scores": []}
    more = write_matches(tmp_path / "more" / "matches-00009.parquet", [unknown, {**unknown, "song_id": "n4"}])
    publish(folder, replace(result, parts={**result.parts, "matches": (*result.parts["matches"], more)}), SETTINGS)
    assert manifest_of(folder.latest)["counts"]["songs_of_which_nothing_is_known"] == 2


def test_the_folder_of_runs_can_be_moved(tmp_path):
    folder, result = small_result(tmp_path)
    publish(folder, result, SETTINGS)
    folder.home.rename(tmp_path / "elsewhere")
    assert manifest_of(tmp_path / "elsewhere" / "latest")["published"]


def test_tables_without_titles_are_hard_links(tmp_path):
    folder, result = small_result(tmp_path)
    publish(folder, result, SETTINGS)
    assert os.path.samefile(folder.latest / "embeddings.parquet", result.parts["embeddings"][0])
    assert os.path.samefile(folder.latest / "run.html", result.page)


def test_without_hard_links_files_are_copied(tmp_path, monkeypatch):
    def no_link(source, out):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("serving.files.linked_files.os.link", no_link)
    folder, result = small_result(tmp_path)
    publish(folder, result, SETTINGS)
    assert pq.read_table(folder.latest / "embeddings.parquet").num_rows == 5
    assert not os.path.samefile(folder.latest / "embeddings.parquet", result.parts["embeddings"][0])


def test_a_run_with_the_same_results_publishes_nothing(tmp_path):
    folder, result = small_result(tmp_path)
    first = results_of(folder, result, SETTINGS)
    before = os.stat(first / "targets.parquet").st_ino
    again = replace(result, run_id="2026-11-02T03:04:05.000006")
    assert publish(folder, again, SETTINGS) is None
    assert os.listdir(folder.history) == [first.name] and os.stat(first / "targets.parquet").st_ino == before
    second = results_of(folder, again, {"model": {"epochs": 3}})
    assert sorted(os.listdir(folder.history)) == [first.name, second.name]
    assert manifest_of(folder.latest)["run_id"] == second.name and manifest_of(first)["settings"] == SETTINGS


def test_a_run_that_was_killed_before_the_link_is_finished_by_the_next(tmp_path, monkeypatch):
    folder, result = small_result(tmp_path)
    publish(folder, result, SETTINGS)
    later = replace(result, run_id="2026-11-02T00:00:00.000000", artifacts="b")
    with monkeypatch.context() as patch:
        patch.setattr("tfx_pipeline.outputs.publishing.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(folder, later, SETTINGS)
    assert manifest_of(folder.latest)["run_id"] == "2026-11-01T03-04-05.000006"
    assert publish(folder, replace(later, run_id="2026-11-03T00:00:00.000000"), SETTINGS) is None
    assert manifest_of(folder.latest)["run_id"] == "2026-11-02T00-00-00.000000"


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_rollback_outlasts_a_run_without_new_data(tmp_path):
    folder, result = small_result(tmp_path)
    first = results_of(folder, result, SETTINGS)
    later = replace(result, run_id="2026-11-02T00:00:00.000000", artifacts="b")
    second = results_of(folder, later, SETTINGS)
    point_latest(folder, first)
    assert publish(folder, replace(later, run_id="2026-11-03T00:00:00.000000"), SETTINGS) is None
    assert manifest_of(folder.latest)["run_id"] == first.name
    folder.latest.unlink()  # a lost link comes back
    assert publish(folder, replace(later, run_id="2026-11-03T00:00:00.000000"), SETTINGS) is None
    assert manifest_of(folder.latest)["run_id"] == second.name
    third = results_of(folder, replace(result, run_id="2026-11-04T00:00:00.000000", artifacts="c"), SETTINGS)
    assert manifest_of(folder.latest)["run_id"] == third.name
    assert {path.name for path in folder.home.iterdir() if path.name.startswith(".")} == set()


def test_a_refused_run_is_recorded_and_leaves_latest_as_it_is(tmp_path):
    folder, result = small_result(tmp_path)
    nothing_yet = results_of(folder, refused(result, "2026-10-31T00:00:00.000000"), SETTINGS)
    assert not os.path.lexists(folder.latest)
    assert set(os.listdir(nothing_yet)) == {"run.html", "manifest.json"}
    before = results_of(folder, result, SETTINGS)
    out = results_of(folder, refused(result, "2026-11-02T00:00:00.000000"), SETTINGS)
    assert manifest_of(folder.latest)["run_id"] == before.name
    found = manifest_of(out)
    assert (found["published"], found["model"]) == (False, None)
    assert found["not_published_because"] == ["val: expected a gain of 1000. Received: 0"]
    assert publish(folder, refused(result, "2026-11-03T00:00:00.000000"), SETTINGS) is None
    shown = "No model was pushed: val: expected a gain of 1000. Received: 0"
    assert outcome(folder).splitlines() == [shown, f"Results: {out}"]
    assert manifest_of(folder.latest)["run_id"] == before.name


def test_a_failed_write_leaves_the_old_files(tmp_path):
    folder, result = small_result(tmp_path)
    first = results_of(folder, result, SETTINGS)
    (folder.history / ".publishing").mkdir()  # what a killed run left
    (folder.history / ".publishing" / "manifest.json").write_text("{")
    part = folder.pipeline_root / "damaged.parquet"
    pq.write_table(pa.table({"song_id": ["n1"]}), part)
    broken = replace(result, run_id="2026-11-02", artifacts="b", parts={**result.parts, "targets": (part,)})
    with pytest.raises(ValueError, match=r"damaged\.parquet: expected the columns .* without \['split', 'rank'"):
        publish(folder, broken, SETTINGS)
    assert os.listdir(folder.history) == [first.name]
    assert manifest_of(folder.latest)["run_id"] == first.name


def test_a_full_disk_leaves_what_was_there(tmp_path, small_disk: SmallDisk):
    folder, result = small_result(tmp_path)
    (small_disk.folder / "history").mkdir()
    folder.history.symlink_to(small_disk.folder / "history")
    for space in (0, 1 << 12, 3 << 12):
        small_disk.leave(space)
        with pytest.raises(OSError, match="No space left on device"):
            publish(folder, result, SETTINGS)
        assert os.listdir(folder.history) == [] and not os.path.lexists(folder.latest)
    small_disk.leave(4 << 20)
    assert manifest_of(results_of(folder, result, SETTINGS))["published"]


@pytest.mark.parametrize("place", ["latest", "history"])
def test_a_file_in_the_place_of_the_results_is_reported_before_the_run(tmp_path, place):
    folder, _ = small_result(tmp_path)
    (folder.home / place).write_text("mine")
    message = rf"OUT: .*{place}: expected the .* Received: another file\. Move it"
    with pytest.raises(FolderError, match=message), folder.for_this_run("OUT"):
        pass
    assert (folder.home / place).read_text() == "mine"


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 7), max_size=6), most=st.integers(1, 5))
def test_parts_of_any_sizes_become_one_file(tmp_path_factory, sizes, most):
    """Also with row groups and batches smaller than the parts."""
    folder = tmp_path_factory.mktemp("parts")
    songs = [[f"s{part}-{row}" for row in range(size)] for part, size in enumerate(sizes)]
    parts = [
        write_matches(
            folder / f"{part}.parquet",
            [
                {
                    "song_id": song,
                    "split": "new",
                    "match_ids": ids[:row],
                    "match_scores": [0.5] * row,
                    "match_shares": [[0.25, 0.25, float(row)]] * row if row % 2 else None,
                    "share_names": ["a", "b", "rest"],
                    "known_fields": row,
                }
                for row, song in enumerate(ids)
            ],
        )
        for part, ids in enumerate(songs)
    ]
    every = [song for ids in songs for song in ids]
    named = Titles(pa.array(every, pa.string()), pa.array([f"title of {song}" for song in every], pa.string()))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_ROWS_PER_GROUP", "_WITH_LISTS_AT_ONCE"):
            patch.setattr(merging, name, most)
        counted = merging.Computed("reliability", ("match_scores", "known_fields"), _counted)
        assert merging.write_table(MATCHES, parts, folder / "out.parquet", named, [counted]) == len(every)
    rows = pq.read_table(folder / "out.parquet").to_pylist()
    assert [row["song_id"] for row in rows] == every
    for row in rows:
        assert row["title"] == f"title of {row['song_id']}"
        assert row["match_titles"] == [f"title of {song}" for song in row["match_ids"]]
        count = len(row["match_ids"])
        assert row["match_shares"] == ([[0.25, 0.25, float(count)]] * count if count % 2 else None)
        assert row["reliability"] == 1000 * count + count


def _counted(rows: pa.Table) -> pa.Array:
    """A thousand for each score, and one for each known field."""
    scores = [1000.0 * len(row) for row in rows["match_scores"].to_pylist()]
    return pa.array(
        [s + known for s, known in zip(scores, rows["known_fields"].to_pylist(), strict=True)], pa.float32()
    )


def test_several_parts_without_titles_are_joined(tmp_path):
    rows = [{"song_id": f"s{n}", "split": "warm", "embedding": [n] * 384, "candidate_embedding": [n]} for n in range(3)]
    parts = [write_embeddings(tmp_path / f"{n}.parquet", rows[n : n + 1]) for n in range(3)]
    none = Titles(pa.array([], pa.string()), pa.array([], pa.string()))
    assert merging.write_table(EMBEDDINGS, parts, tmp_path / "out.parquet", none) == 3
    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["embedding"] for row in found] == [[float(n)] * 384 for n in range(3)]


def test_titles_are_any_text_and_may_be_missing(tmp_path):
    ids = [*AWKWARD, LONG]
    folder = small_input(
        tmp_path,
        {
            "song_id": ids,
            "name": [f"{song}!" for song in ids],
            "attribute_genre": ["a"] * len(ids),
            "audio_tempo": [1.0] * len(ids),
        },
    )
    titles = Titles.read(folder.input / contract.SONGS)
    lists = pa.array([ids[:2], [], None, [ids[-1], "unknown"]], pa.list_(pa.string()))
    # The contract may trim ids; what it keeps is what a run knows.
    kept = pq.read_table(folder.input / contract.SONGS)["song_id"].to_pylist()
    assert titles.of(pa.array(kept)).to_pylist() == pq.read_table(folder.input / contract.SONGS)["name"].to_pylist()
    assert titles.of_lists(lists).to_pylist()[1:3] == [[], []]
    assert titles.of_lists(lists)[3].as_py()[1] is None
    assert titles.named("unknown") is None


def test_a_catalogue_without_names_has_no_titles(tmp_path):
    folder = small_input(tmp_path, {"song_id": ["1", "2"], "attribute_genre": ["a", "b"], "audio_tempo": [1.0, 2.0]})
    titles = Titles.read(folder.input / contract.SONGS)
    assert titles.of(pa.array(["1", "3"])).to_pylist() == [None, None]
