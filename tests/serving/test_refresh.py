"""Index refresh on real exports: what stays equal, what is refused. A version appears whole or not at all."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_export
import small_model
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving.client import Client
from serving.refresh.index import refreshed_index
from serving.refresh.saved_version import EMBEDDINGS_KEY, IDS_KEY, RefreshError, SavedVersion, write_version
from serving.savedmodel.publish import PublishError, latest_version, next_version
from serving.savedmodel.raw_fields import encode_song
from serving.server import EmbeddedServer, RequestError
from tests.waiting import eventually

SONGS = small_export.catalogue(30)
NEW = [{**song, "song_id": f"new-{number}"} for number, song in enumerate(small_export.catalogue(5, seed=1))]


def encoded(songs: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    for song in songs:
        yield song["song_id"], encode_song(song, small_export.FIELDS)


@pytest.fixture(scope="module")
def exported() -> small_export.SmallExport:
    return small_export.SmallExport(SONGS)


@pytest.fixture(scope="module")
def first(exported: small_export.SmallExport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.export(tmp_path_factory.mktemp("export") / "bcl" / "1")


@pytest.fixture(scope="module")
def version(first: Path) -> Iterator[SavedVersion]:
    with SavedVersion(str(first)) as opened:
        yield opened


@pytest.fixture(scope="module")
def second(version: SavedVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without song-3 and song-4, with the new songs."""
    index, _ = refreshed_index(version, encoded(NEW), drop={"song-3", "song-4"})
    out = tmp_path_factory.mktemp("refreshed") / "bcl" / "2"
    out.parent.mkdir()
    write_version(version.path, str(out), index)
    return out


def test_the_saved_index_is_that_of_the_export(version: SavedVersion, exported: small_export.SmallExport) -> None:
    assert version.index.names() == exported.ids and not version.index.has_integer_ids
    np.testing.assert_array_equal(version.index.embeddings, exported.index)
    assert version.fields == small_export.FIELDS


def test_songs_that_stay_keep_their_embeddings_exactly(second: Path, exported: small_export.SmallExport) -> None:
    with SavedVersion(str(second)) as refreshed:
        names, embeddings = refreshed.index.names(), refreshed.index.embeddings
    stay = [song["song_id"] for song in SONGS if song["song_id"] not in ("song-3", "song-4")]
    assert names == [*stay, *(song["song_id"] for song in NEW)]
    rows = [exported.ids.index(name) for name in stay]
    assert embeddings[: len(stay)].tobytes() == exported.index[rows].tobytes()
    np.testing.assert_allclose(embeddings[len(stay) :], exported.embed(NEW), atol=1e-5)


def test_nothing_but_the_index_changes(first: Path, second: Path) -> None:
    files = sorted(str(path.relative_to(first)) for path in first.rglob("*") if path.is_file())
    kept = [name for name in files if not name.startswith("variables") and name != "fingerprint.pb"]
    assert "saved_model.pb" in kept and any("warmup" in name for name in kept)
    equal, different, failed = filecmp.cmpfiles(first, second, kept, shallow=False)
    assert (sorted(equal), different, failed) == (kept, [], [])
    assert not (second / "fingerprint.pb").exists()
    old, new = (tf.train.load_checkpoint(str(path / "variables" / "variables")) for path in (first, second))
    assert old.get_variable_to_dtype_map() == new.get_variable_to_dtype_map()
    for name in set(old.get_variable_to_dtype_map()) - {IDS_KEY, EMBEDDINGS_KEY}:
        assert np.asarray(old.get_tensor(name)).tobytes() == np.asarray(new.get_tensor(name)).tobytes(), name


def test_a_server_that_runs_takes_the_refreshed_version_over(
    first: Path, second: Path, exported: small_export.SmallExport, tmp_path: Path
) -> None:
    base = tmp_path / "bcl"
    small_model.publish(first, base, 1)
    with (
        EmbeddedServer(
            port=0, model_name="bcl", model_base_path=str(base), file_system_poll_wait_seconds=0.05
        ) as server,
        Client(server.target) as client,
    ):
        before = client.embed(SONGS)
        assert "new-0" not in client.match(NEW[0], k=29, exclude=[None])[0]
        small_model.publish(second, base, 2)
        assert eventually(lambda: (1, "END") in {(status.version, status.state) for status in client.status()})
        ids, scores = client.match(NEW, k=32, exclude=[None] * len(NEW))
        for row, song in enumerate(NEW):
            assert ids[row, 0] == song["song_id"] and not {"song-3", "song-4"} & set(ids[row])
        np.testing.assert_allclose(scores[:, 0], 1.0, atol=1e-5)
        np.testing.assert_array_equal(client.embed(SONGS), before)
        assert client.match(NEW, k=1)[0][0, 0] != "new-0"


def test_eager_tensorflow_loads_it_too(second: Path, exported: small_export.SmallExport) -> None:
    loaded = tf.saved_model.load(str(second))
    examples = tf.constant([example for _, example in encoded(NEW)])
    answer = loaded.signatures["candidate"](examples=examples)["embedding"].numpy()
    np.testing.assert_allclose(answer, exported.embed(NEW), atol=1e-5)


def test_a_refreshed_version_can_be_refreshed(second: Path, tmp_path: Path) -> None:
    with SavedVersion(str(second)) as version:
        index, changes = refreshed_index(version, encoded(SONGS), drop={"new-1"})
        assert (changes.added, changes.dropped, changes.kept) == (("song-3", "song-4"), ("new-1",), 32)
        write_version(version.path, str(tmp_path / "3"), index)
    with SavedVersion(str(tmp_path / "3")) as version:
        assert version.index.names()[-2:] == ["song-3", "song-4"]


def test_a_song_with_plays_that_comes_back_is_embedded_with_them(
    version: SavedVersion, exported: small_export.SmallExport, second: Path
) -> None:
    with SavedVersion(str(second)) as refreshed:
        index, _ = refreshed_index(refreshed, encoded(SONGS[3:4]))
    np.testing.assert_allclose(index.embeddings[-1], exported.index[3], atol=1e-5)


def test_songs_missing_from_a_catalogue_are_dropped(version: SavedVersion) -> None:
    songs = [*SONGS[2:], *NEW]
    index, changes = refreshed_index(version, encoded(songs), is_catalogue=True)
    assert changes.dropped == ("song-0", "song-1") and len(changes.added) == 5 and changes.kept == 28
    assert set(index.names()) == {song["song_id"] for song in songs}
    _, changes = refreshed_index(version, encoded(SONGS), is_catalogue=True)
    assert not changes and changes.kept == 30


def test_an_index_of_fewer_songs_than_a_warm_up_request_asks_for(version: SavedVersion, tmp_path: Path) -> None:
    index, _ = refreshed_index(version, (), drop={song["song_id"] for song in SONGS[3:]})
    write_version(version.path, str(tmp_path / "2"), index)  # answers the warm-up requests, with k 10
    assert len(index.ids) == 3


def test_a_song_to_drop_is_not_added(version: SavedVersion) -> None:
    _, changes = refreshed_index(version, encoded(NEW), drop={"new-0", "song-9", "never there"})
    assert changes.added == ("new-1", "new-2", "new-3", "new-4") and changes.dropped == ("song-9",)


def test_songs_that_the_model_does_not_know_are_named(version: SavedVersion) -> None:
    songs = [{"song_id": "bare"}, {**NEW[0], "audio_tempo": 1.0}, {"song_id": "odd", "attribute_genre": "unheard"}]
    _, changes = refreshed_index(version, encoded(songs))
    assert (changes.added, changes.unknown) == (("bare", "new-0", "odd"), ("bare", "odd"))
    _, changes = refreshed_index(version, encoded(NEW[:1]))
    assert (changes.added, changes.unknown) == (("new-0",), ())


def test_a_model_without_known_fields_is_refreshed_too(tmp_path: Path, first: Path) -> None:
    older = tmp_path / "bcl" / "1"
    shutil.copytree(first, older)
    saved = saved_model_pb2.SavedModel.FromString((older / "saved_model.pb").read_bytes())
    for signature in saved.meta_graphs[0].signature_def.values():
        if signature.inputs:  # not TensorFlow's own initialiser
            del signature.outputs["known_fields"]
    (older / "saved_model.pb").write_bytes(saved.SerializeToString())
    with SavedVersion(str(older)) as version:
        index, changes = refreshed_index(version, encoded([{"song_id": "bare"}, *NEW]))
        write_version(version.path, str(tmp_path / "bcl" / "2"), index)
    assert (len(changes.added), changes.unknown) == (6, ())
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(older.parent)) as server,
        Client(server.target) as client,
    ):
        ids, _, known_fields = client.match(NEW, k=1, exclude=[None] * len(NEW), with_known_fields=True)
        assert known_fields is None and ids[:, 0].tolist() == [song["song_id"] for song in NEW]
        assert client.embed([{}]).shape == (1, 6)


def test_integer_ids(tmp_path: Path) -> None:
    path = small_export.SmallExport(SONGS, integer_ids=True).export(tmp_path / "bcl" / "1")
    with SavedVersion(str(path)) as version:
        assert version.index.has_integer_ids and version.index.names()[:2] == ["0", "1"]
        songs = [{**song, "song_id": str(100 + number)} for number, song in enumerate(NEW)]
        index, changes = refreshed_index(version, encoded(songs), drop={"7"})
        assert changes.added[0] == "100" and changes.dropped == ("7",)
        assert index.ids.dtype == np.int64 and index.ids[-1] == 104
        with pytest.raises(ValueError, match=r"song_id: expected an integer of 0 or more .* Received: 'new-0'"):
            refreshed_index(version, encoded(NEW))


def test_what_cannot_be_refreshed(version: SavedVersion) -> None:
    with pytest.raises(RefreshError) as caught:
        refreshed_index(version, encoded(NEW), is_catalogue=True)
    assert str(caught.value) == (
        "index: expected a catalogue that lacks at most 20% of its 30 songs (`max_dropped`). Received: one that lacks "
        "30 of them"
    )
    with pytest.raises(RefreshError, match=r"expected at least one song to be left. Received: 30 songs to drop"):
        refreshed_index(version, (), drop={song["song_id"] for song in SONGS})
    with pytest.raises(RefreshError, match=r"songs: expected each song once. Received: 'new-0' twice"):
        refreshed_index(version, encoded([NEW[0], NEW[0]]))
    endless = {**NEW[0], "audio_tempo": float("inf")}
    with pytest.raises(RefreshError, match=r"song 'new-0': expected an embedding of finite numbers. Received: NaN"):
        refreshed_index(version, encoded([endless]))
    with pytest.raises(RequestError, match=r"INVALID_ARGUMENT: .*Could not parse example input"):
        refreshed_index(version, [("x", b"\xff")])


def test_models_without_an_index(tmp_path: Path, saved_model: Path) -> None:
    with pytest.raises(
        RefreshError, match=r"expected a model with an index of songs, .* Received: a model without one"
    ):
        SavedVersion(str(saved_model))
    with pytest.raises(RefreshError, match=r"expected a model with readable variables. Received: "):
        SavedVersion(str(tmp_path))


def test_a_version_that_does_not_answer_is_refused(version: SavedVersion, tmp_path: Path) -> None:
    """An index of another width is written, and refused before it can be published."""
    index = version.index
    wrong = type(index)(index.ids, index.embeddings[:, :-1])
    with pytest.raises(RequestError):
        write_version(version.path, str(tmp_path / "wrong"), wrong)


@pytest.fixture
def base(tmp_path: Path, first: Path) -> Path:
    shutil.copytree(first, tmp_path / "bcl" / "7")
    return tmp_path / "bcl"


def versions(base: Path) -> list[str]:
    return sorted(entry.name for entry in base.iterdir() if not entry.name.startswith("."))


def test_the_next_version_appears_by_a_rename(base: Path) -> None:
    assert latest_version(str(base)) == (7, str(base / "7"))
    with next_version(str(base)) as publication:
        assert publication.latest == str(base / "7")
        shutil.copytree(publication.latest, publication.staging)
        assert versions(base) == ["7"]
    assert publication.published == str(base / "8") and versions(base) == ["7", "8"]
    with next_version(str(base)) as publication:
        pass
    assert publication.published is None and versions(base) == ["7", "8"]


def test_nothing_appears_after_an_error_or_a_kill(base: Path) -> None:
    def publish_half() -> None:
        with next_version(str(base)) as publication:
            os.mkdir(publication.staging)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        publish_half()
    killed = f"""
        import os, signal
        from serving.savedmodel.publish import next_version
        with next_version({str(base)!r}) as publication:
            os.mkdir(publication.staging)
            open(publication.staging + "/half", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(killed)], check=False).returncode == -9
    assert versions(base) == ["7"]
    with next_version(str(base)) as publication:
        assert not os.path.exists(publication.staging)
        os.mkdir(publication.staging)
    assert versions(base) == ["7", "8"] and not os.listdir(base / "8")


def test_what_cannot_be_published(base: Path, tmp_path: Path) -> None:
    for folder, received in ((tmp_path / "nowhere", "No such file or directory"), (tmp_path, "none")):
        with pytest.raises(PublishError, match=f"expected .*version.* Received: {received}"), next_version(str(folder)):
            pass

    def publish_late() -> None:
        with next_version(str(base)) as publication:
            os.mkdir(publication.staging)
            os.mkdir(base / "12")

    with pytest.raises(PublishError, match=r"expected version 7 to be the latest still. Received: version 12"):
        publish_late()
    assert versions(base) == ["12", "7"]
    in_use = f"one in use by this process, {os.getpid()}"
    with next_version(str(base)), pytest.raises(PublishError, match=in_use), next_version(str(base)):
        pass
