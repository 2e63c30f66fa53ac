"""A song that was taken down is in no run: the pipeline does not read it, and no pushed model has it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tfx import v1 as tfx
from tfx.proto import pusher_pb2
from tfx.types import standard_component_specs as specs
from tfx.utils import proto_utils

from serving.refresh.saved_version import SavedVersion, read_index
from serving.refresh.takedown import RECORD, record_taken_down, taken_down
from tests.serving import small_export
from tfx_pipeline import demo
from tfx_pipeline.contract import PLAYS, SONGS, ContractError, prepare
from tfx_pipeline.removal.takedown import admitted, say_left_out, take_down, take_down_listed
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.tfx_extensions.pusher_executor import Executor

IDS = [f"song-{number}" for number in range(30)]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run whose input is prepared: 30 songs, each played by 3 listeners."""
    data = tmp_path / "in"
    data.mkdir()
    columns = {"song_id": IDS, "attribute_genre": ["a", "b"] * 15, "audio_tempo": [1.5] * 30, "title": IDS}
    pq.write_table(pa.table(columns), data / "songs.parquet")
    plays = {"user_id": [f"u{number % 9}" for number in range(90)], "song_id": IDS * 3}
    pq.write_table(pa.table(plays), data / "plays.parquet")
    folder = RunFolder.at(tmp_path / "run")
    prepare(data, folder.input)
    return folder


def listed(tmp_path: Path, text: str) -> Path:
    (tmp_path / "gone.txt").write_text(text)
    return tmp_path / "gone.txt"


def songs_of(folder: Path) -> list[str]:
    return pq.read_table(folder / SONGS)["song_id"].to_pylist()


def test_without_a_takedown_the_input_is_read_as_it_is(folder: RunFolder) -> None:
    assert take_down(folder.serving, folder.input, None) == () and admitted(folder) == folder.input
    record_taken_down(folder.serving, {"song of another catalogue"})
    assert admitted(folder) == folder.input and say_left_out(()) == ""


def test_songs_and_their_plays_are_left_out_of_all_later_runs(folder: RunFolder, tmp_path: Path) -> None:
    assert take_down(folder.serving, folder.input, listed(tmp_path, "song-4\r\nsong-9\r\n")) == ("song-4", "song-9")
    for _ in range(2):  # the second run names no list
        out = admitted(folder)
        left = [song_id for song_id in IDS if song_id not in ("song-4", "song-9")]
        assert songs_of(out) == left
        assert pq.read_table(out / PLAYS)["song_id"].to_pylist() == left * 3
        assert pq.read_schema(out / SONGS).equals(pq.read_schema(folder.input / SONGS))
        times = {name: (out / name).stat().st_mtime for name in (SONGS, PLAYS)}
        assert take_down(folder.serving, folder.input, None) == ("song-4", "song-9")
    # Nothing new: the same bytes with the same times, by which the pipeline's cache goes.
    shutil.rmtree(out)
    again = admitted(folder)
    assert {name: (again / name).stat().st_mtime for name in (SONGS, PLAYS)} == times
    assert say_left_out(("song-4",)) == "Left out, because they were taken down: 1 songs (song-4)"
    assert songs_of(folder.input) == IDS


def test_unknown_ids_stop_the_run_and_change_nothing(folder: RunFolder, tmp_path: Path) -> None:
    gone = listed(tmp_path, "song-4\nsong-04\n")
    with pytest.raises(ContractError, match=r"of the catalogue or the served index. Received: 1 of 2 .* 'song-04'"):
        take_down(folder.serving, folder.input, gone)
    assert taken_down(folder.serving) == frozenset()
    assert take_down(folder.serving, folder.input, gone, ignore_missing=True) == ("song-4",)
    assert taken_down(folder.serving) == {"song-4", "song-04"}  # which the catalogue may have tomorrow


def test_a_song_that_left_the_catalogue_is_known_by_the_served_index(folder: RunFolder, tmp_path: Path) -> None:
    songs = small_export.catalogue(31)
    small_export.SmallExport(songs).export(folder.serving / "1")
    assert take_down(folder.serving, folder.input, listed(tmp_path, "song-30")) == ()
    assert taken_down(folder.serving) == {"song-30"}
    # It is gone from what is served before the run has begun.
    assert sorted(name for name in os.listdir(folder.serving) if name.isdigit()) == ["1", "2"]
    with SavedVersion(str(folder.serving / "2")) as version:
        assert version.index.names() == IDS
    assert take_down(folder.serving, folder.input, None) == ()
    assert sorted(name for name in os.listdir(folder.serving) if name.isdigit()) == ["1", "2"]


def test_an_empty_catalogue_is_an_error(folder: RunFolder) -> None:
    record_taken_down(folder.serving, set(IDS))
    with pytest.raises(ContractError, match=r"expected at least one song that was not taken down. Received: 30 that"):
        admitted(folder)


def test_the_environment_names_the_list(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCL_TAKEDOWN", str(listed(tmp_path, "song-1\nnone")))
    with pytest.raises(ContractError, match="1 of 2 that are unknown: 'none'"):
        take_down_listed(folder, folder.input)
    monkeypatch.setenv("BCL_IGNORE_MISSING", "yes")
    with pytest.raises(ContractError, match=r"BCL_IGNORE_MISSING: expected 1 or 0. Received: 'yes'"):
        take_down_listed(folder, folder.input)
    monkeypatch.setenv("BCL_IGNORE_MISSING", "1")
    assert take_down_listed(folder, folder.input) == ("song-1",)


def test_the_demo_names_what_is_unknown(folder: RunFolder, tmp_path: Path, capsys: Any) -> None:
    gone = str(listed(tmp_path, "song-04"))
    arguments = ["--data", str(tmp_path / "in"), "--out", str(folder.home), "--takedown", gone]
    assert demo.main(arguments) == 2
    assert "1 of 1 that are unknown: 'song-04'" in capsys.readouterr().err
    assert not (folder.serving / RECORD).exists()


def test_a_model_trained_before_a_takedown_is_pushed_without_the_song(tmp_path: Path) -> None:
    """The song was taken down while the run was under way."""
    model, blessing, pushed = (
        artifact()
        for artifact in (
            tfx.types.standard_artifacts.Model,
            tfx.types.standard_artifacts.ModelBlessing,
            tfx.types.standard_artifacts.PushedModel,
        )
    )
    for artifact, name in ((model, "model"), (blessing, "blessing"), (pushed, "pushed")):
        artifact.uri = str(tmp_path / name)
    small_export.SmallExport(small_export.catalogue(12)).export(tmp_path / "model" / "Format-Serving")
    blessing.set_int_custom_property("blessed", 1)
    base = tmp_path / "serving"
    record_taken_down(base, {"song-3"})
    place = pusher_pb2.PushDestination(filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(base)))
    Executor().Do(
        {specs.MODEL_KEY: [model], specs.MODEL_BLESSING_KEY: [blessing]},
        {specs.PUSHED_MODEL_KEY: [pushed]},
        {specs.PUSH_DESTINATION_KEY: proto_utils.proto_to_json(place), specs.CUSTOM_CONFIG_KEY: "null"},
    )
    (version,) = (name for name in os.listdir(base) if name.isdigit())
    assert sorted(os.listdir(base)) == sorted([RECORD, version])
    with SavedVersion(str(base / version)) as served:
        assert served.index.names() == [f"song-{number}" for number in range(12) if number != 3]
    # Files are shared between model, archive and version; only the version's own were changed.
    trained = tmp_path / "model" / "Format-Serving"
    assert len(read_index(str(trained)).names()) == 12
    shards = [folder / "variables" / "variables.data-00000-of-00001" for folder in (trained, tmp_path / "pushed")]
    assert os.path.samefile(*shards) and not os.path.samefile(
        shards[0], base / version / shards[0].relative_to(trained)
    )
