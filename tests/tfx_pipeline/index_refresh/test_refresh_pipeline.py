"""The refresh as a TFX pipeline: it pushes a changed catalogue and leaves an unchanged one alone."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx import v1 as tfx

from serving.refresh.saved_version import RefreshError, SavedVersion
from serving.refresh.takedown import record_taken_down
from serving.savedmodel.raw_fields import RawField, encode_song
from serving.savedmodel.warmup_requests import REQUESTS_FILE
from tests.any_text import AWKWARD, LONG
from tests.serving import small_export
from tfx_pipeline import refresh_runner
from tfx_pipeline.contract import SongField
from tfx_pipeline.contract.ids import id_array, no_ids
from tfx_pipeline.contract.splits import ColdSplit
from tfx_pipeline.evaluation.catalogue_embedding import _to_matches
from tfx_pipeline.evaluation.component import last_embeddings, last_judged, read_embeddings
from tfx_pipeline.gates.serving_validator import REASON, ServingValidator, problem_of
from tfx_pipeline.history.run_record import RunRecord
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.index_refresh import pipeline_run
from tfx_pipeline.models.served_fields import check_fields
from tfx_pipeline.models.song_table import SongTable
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.targeting.component import AudienceTargeter
from tfx_pipeline.tfx_extensions.artifacts import EXTRA, LEARNT, TargetListeners
from tfx_pipeline.tfx_extensions.progress import component_lines

pytestmark = pytest.mark.pipeline

SONGS = small_export.catalogue(30)
NEW = [{**song, "song_id": f"new-{number}"} for number, song in enumerate(small_export.catalogue(5, seed=1))]


def write_catalogue(folder: Path, songs: list[dict]) -> Path:
    folder.mkdir(exist_ok=True)
    types = {
        "attribute_tags": pa.list_(pa.string()),
        "lyric_vector": pa.list_(pa.float32()),
        "audio_tempo": pa.float32(),
    }
    schema = pa.schema([(name, types.get(name, pa.string())) for name in songs[0]])
    pq.write_table(pa.Table.from_pylist(songs, schema), folder / "songs.parquet")
    plays = {"user_id": ["u"], "song_id": [songs[0]["song_id"]]}
    pq.write_table(pa.table(plays), folder / "plays.parquet")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("refresh")
    small_export.SmallExport(SONGS).export(home / "serving" / "1700000000")
    return home


def run(home: Path, songs: list[dict]) -> tuple[RunRecord, list[str]]:
    folder = RunFolder.at(home)
    lines: list[str] = []
    with component_lines(lines.append):
        pipeline_run.run(folder, pipeline_run.check_input(folder, write_catalogue(home / "data", songs)))
    return RunRecord.latest(RunRecords.of(folder, refreshes=True)), lines


def versions(home: Path) -> list[int]:
    return sorted(int(name) for name in os.listdir(home / "serving") if name.isdigit())


def test_a_changed_catalogue_is_pushed_and_an_unchanged_one_is_not(home: Path) -> None:
    record, _ = run(home, [*SONGS[2:], *NEW])
    counts = {name: record.number("IndexRefresher", "model", name) for name in ("added", "dropped", "kept")}
    assert counts == {"added": 5, "dropped": 2, "kept": 28}
    first, second = versions(home)
    assert record.number("Pusher", "pushed_model", "pushed") == 1 and second > first
    with (
        SavedVersion(str(home / "serving" / str(first))) as old,
        SavedVersion(str(home / "serving" / str(second))) as new,
    ):
        assert new.index.names() == [song["song_id"] for song in [*SONGS[2:], *NEW]]
        np.testing.assert_array_equal(new.index.embeddings[:28], old.index.embeddings[2:])

    record, _ = run(home, [*SONGS[2:], *NEW])
    assert record.number("ServingValidator", "blessing", "blessed") == 1
    assert record.number("IndexRefresher", "blessing", "blessed") == 0
    assert record.number("Pusher", "pushed_model", "pushed") == 0
    assert versions(home) == [first, second]

    _, lines = run(home, [*SONGS[2:], *NEW])
    assert lines and all("from cache" in line for line in lines if not line.split()[0].startswith("ServedModel"))
    assert versions(home) == [first, second]


def test_the_runner_names_the_missing_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.delenv("BCL_DATA", raising=False)
    with pytest.raises(SystemExit) as caught:
        refresh_runner.main()
    assert caught.value.code == 2
    assert "BCL_DATA: expected the folder with songs.parquet and plays.parquet." in capsys.readouterr().err
    monkeypatch.setenv("BCL_DATA", str(write_catalogue(tmp_path / "data", SONGS)))
    monkeypatch.setenv("BCL_RUN", str(tmp_path / "run"))
    with pytest.raises(SystemExit) as caught:
        refresh_runner.main()
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert (
        error
        == f"{tmp_path / 'run' / 'serving'}: expected a folder of model versions. Received: No such file or directory\n"
    )


def test_fields_that_are_not_the_models() -> None:
    taken = (RawField("audio_tempo", "number"), RawField("lyric_vector", "vector", 3))
    check_fields((SongField("audio_tempo", "number"),), taken)
    with pytest.raises(RefreshError) as caught:
        check_fields((SongField("audio_tempo", "number"), SongField("lyric_vector", "vector", 4)), taken)
    assert str(caught.value) == (
        "songs, field `lyric_vector`: expected vector of length 3, which the model was trained on. Received: vector of "
        "length 4"
    )
    with pytest.raises(RefreshError, match=r"expected fields .*\(audio_tempo, lyric_vector\). Received: none of them"):
        check_fields((SongField("audio_key", "number"),), taken)


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_export.SmallExport(SONGS).export(tmp_path_factory.mktemp("validated") / "1")


def test_the_validator_replays_the_warm_up_requests(saved_model: Path, tmp_path: Path) -> None:
    songs = [encode_song(song, small_export.FIELDS) for song in SONGS[:4]]
    assert problem_of(str(saved_model), songs) is None

    broken = tmp_path / "broken"
    shutil.copytree(saved_model, broken)
    with tf.io.TFRecordWriter(str(broken / REQUESTS_FILE)) as writer:
        writer.write(b"\xff")
    problem = problem_of(str(broken), songs)
    assert problem is not None and "Failed to parse warmup record" in problem

    shutil.rmtree(broken / "assets.extra")
    assert problem_of(str(broken), songs) == (
        "assets.extra: expected a warm-up request for each signature. Received: none for ['candidate', 'embed', "
        "'match', 'match_examples', 'match_unknown', 'serving_default']"
    )
    assert "finite rows" in (
        problem_of(str(saved_model), [encode_song({"audio_tempo": float("inf")}, small_export.FIELDS)]) or ""
    )


def test_a_song_without_known_values_has_no_matches(saved_model: Path) -> None:
    """The component's rows, from what the exported model answers."""
    songs = [SONGS[4], {"song_id": "bare", "attribute_genre": "unheard", "attribute_tags": ["never seen"]}]
    with SavedVersion(str(saved_model)) as version:
        answers = version.run("match_examples", [encode_song(song, small_export.FIELDS) for song in songs])
    rows = []
    for place, song in enumerate(songs):
        log = prediction_log_pb2.PredictionLog()
        for name, values in answers.items():
            log.predict_log.response.outputs[name].CopyFrom(tf.make_tensor_proto(values[place : place + 1]))
        rows.append(_to_matches((song["song_id"], "new"), log))
    known, bare = rows
    assert set(known["match_ids"]) == {song["song_id"] for song in SONGS} and len(known["match_scores"]) == len(SONGS)
    assert (bare["song_id"], bare["split"]) == ("bare", "new")
    assert list(bare["match_ids"]) == [] and len(bare["match_scores"]) == 0


def test_a_model_that_does_not_answer_is_refused_with_the_reason(saved_model: Path, tmp_path: Path) -> None:
    """The component, and what follows from its word: nothing is targeted for a model that is not pushed."""
    types = tfx.types.standard_artifacts
    model, songs, blessing = types.Model(), types.Examples(), types.InfraBlessing()
    for artifact, name in ((model, "model"), (songs, "songs"), (blessing, "blessing")):
        artifact.uri = str(tmp_path / name)
    songs.split_names = '["warm"]'
    (tmp_path / "songs" / "Split-warm").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(tmp_path / "songs" / "Split-warm" / "part.gz"), "GZIP") as writer:
        writer.write(encode_song(SONGS[0], small_export.FIELDS))
    shutil.copytree(saved_model, tmp_path / "model" / "Format-Serving")

    def blessed() -> int:
        ServingValidator.EXECUTOR_SPEC.executor_class._FUNCTION(
            model=model, labelled_songs=songs, blessing=blessing, code="", split="warm"
        )
        return blessing.get_int_custom_property("blessed")

    assert blessed() == 1 and not (tmp_path / "blessing" / REASON).exists()
    shutil.rmtree(tmp_path / "model" / "Format-Serving" / "variables")
    assert blessed() == 0
    assert "variables" in (tmp_path / "blessing" / REASON).read_text()

    pushed, targets = types.PushedModel(), TargetListeners()
    pushed.set_int_custom_property("pushed", 0)
    AudienceTargeter.EXECUTOR_SPEC.executor_class._FUNCTION(
        plays=songs, embeddings=None, pushed_model=pushed, targets=targets, settings="{}", code=""
    )
    assert targets.get_int_custom_property("targeted") == 0


def test_a_last_model_of_other_fields_is_no_row(saved_model: Path) -> None:
    """It cannot read today's songs: once a bare error of TensorFlow, after all that comes before it had run."""
    fields = (SongField("attribute_genre", "multi_category"), SongField("audio_tempo", "number"))
    none = np.zeros(0)
    table = SongTable(no_ids(), none, {}, none, no_ids(0, 0), none)
    assert last_embeddings(str(saved_model), None, table, fields) is None
    with pytest.raises(AttributeError):  # fields that fit are read on, here from no songs at all
        last_embeddings(str(saved_model), None, table, fields[1:])


def test_a_model_is_compared_with_the_last_one_as_that_was_judged(saved_model: Path, tmp_path: Path) -> None:
    serving, judged, split = tmp_path / "serving", tmp_path / "judged_model", ColdSplit()

    def push(version: str, **learnt: object) -> Path:
        shutil.copytree(saved_model, serving / version)
        return say(serving / version, **learnt)

    def say(model: Path, **learnt: object) -> Path:
        (model / EXTRA / LEARNT).write_text(json.dumps(learnt))
        return model

    def found(rule: ColdSplit = split) -> str | None:
        return last_judged(str(serving), str(judged), rule)

    assert found() is None
    shutil.copytree(saved_model, serving / "1")  # as models were before they shown what was learnt
    assert found() == str(serving / "1")
    plain = push("2", split=asdict(split))
    assert found() == str(plain) and found(ColdSplit(salt="2026-11")) is None
    push("3", split=asdict(split.without_held_out()), refit=True)
    assert found() is None  # it knows today's held-out songs, and the model judged for it is gone
    shutil.copytree(saved_model, judged)
    say(judged, split=asdict(split))
    assert found() == str(judged) and found(ColdSplit(rotate="month")) is None
    assert found(ColdSplit(min_listeners=9)) == str(judged)
    judged.rename(f"{judged}.before")  # a run was killed while it put another in its place
    assert found() == f"{judged}.before"


def test_embeddings_are_found_by_any_id(tmp_path: Path) -> None:
    ids = [*AWKWARD, LONG]
    rows = {"song_id": ids, "embedding": [[float(row)] for row in range(len(ids))]}
    pq.write_table(pa.table({**rows, "candidate_embedding": rows["embedding"]}), tmp_path / "embeddings-0.parquet")
    some = sorted(ids[::2])
    none = np.zeros(len(some))
    table = SongTable(id_array(some), none, {}, none, no_ids(len(some), 0), none)
    queries, candidates = read_embeddings(str(tmp_path), table)
    assert queries[:, 0].tolist() == candidates[:, 0].tolist() == [ids.index(song) for song in some]


def test_a_song_taken_down_stays_away_though_the_catalogue_has_it(tmp_path: Path) -> None:
    """The next night's refresh once brought back what `refresh --drop` had dropped."""
    home = tmp_path / "run"
    small_export.SmallExport(SONGS).export(tmp_path / "elsewhere" / "1")
    (home / "serving").mkdir(parents=True)
    (home / "serving" / "1700000000").symlink_to(tmp_path / "elsewhere" / "1")
    record_taken_down(home / "serving", {"song-5", "new-1"})
    run(home, [*SONGS, *NEW])
    with SavedVersion(str(home / "serving" / str(versions(home)[-1]))) as version:
        assert set(version.index.names()) == {song["song_id"] for song in [*SONGS, *NEW]} - {"song-5", "new-1"}
    record_taken_down(home / "serving", {"song-5"})
    record, _ = run(home, [*SONGS, *NEW])
    assert record.number("IndexRefresher", "model", "added") == 1
