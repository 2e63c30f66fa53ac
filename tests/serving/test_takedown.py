"""The record of songs taken down, a model without them, and version folders that are links."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_export
import small_model

from serving.files.whole_files import write_whole
from serving.refresh.index import drop_songs
from serving.refresh.saved_version import RefreshError, SavedVersion
from serving.refresh.takedown import RECORD, digest_of_taken_down, record_taken_down, taken_down
from serving.server import EmbeddedServer

SONGS = small_export.catalogue(12)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_export.SmallExport(SONGS).export(tmp_path_factory.mktemp("export") / "1")


@pytest.mark.parametrize("ids", [{"a"}, {" a", "a ", "é", "曲🎵", "line\nend", '"', "\ufeffx", "א"}])
def test_the_record_gives_back_what_it_was_given(tmp_path: Path, ids: set[str]) -> None:
    base = tmp_path / "serving"
    assert taken_down(base) == frozenset() and digest_of_taken_down(base) == ""
    record_taken_down(base, ids)
    assert taken_down(base) == ids and os.listdir(base) == [RECORD]
    digest = digest_of_taken_down(base)
    record_taken_down(base, ids | {"more"})
    assert digest_of_taken_down(base) not in ("", digest)
    record_taken_down(base, ())
    assert taken_down(base) == frozenset() and digest_of_taken_down(base) == ""


def test_no_record_is_written_where_nothing_changes(tmp_path: Path) -> None:
    record_taken_down(tmp_path / "serving", ())
    assert not (tmp_path / "serving").exists()


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "file", "after \ud800")
    assert (tmp_path / "file").read_text() == "before" and os.listdir(tmp_path) == ["file"]


def test_songs_are_dropped_from_a_model_in_its_place(exported: Path, tmp_path: Path) -> None:
    model = tmp_path / "1"
    shutil.copytree(exported, model)
    drop_songs(str(model), {"song-3", "song-5", "never there"})
    with SavedVersion(str(exported)) as old, SavedVersion(str(model)) as new:
        left = [place for place in range(12) if place not in (3, 5)]
        assert new.index.names() == [f"song-{place}" for place in left]
        np.testing.assert_array_equal(new.index.embeddings, old.index.embeddings[left])
    before = (model / "saved_model.pb").stat().st_mtime_ns
    drop_songs(str(model), {"song-3"})
    assert (model / "saved_model.pb").stat().st_mtime_ns == before and os.listdir(tmp_path) == ["1"]
    with pytest.raises(RefreshError, match="expected at least one song to be left"):
        drop_songs(str(model), {f"song-{place}" for place in range(12)})


def test_a_link_to_nothing_is_named_and_the_others_are_served(
    exported: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = tmp_path / "bcl"
    small_model.publish(exported, base, 1)
    (base / "2").symlink_to(tmp_path / "gone")
    (base / "latest").symlink_to("1")
    with caplog.at_level(logging.WARNING), EmbeddedServer(port=0, model_name="bcl", model_base_path=str(base)):
        pass
    assert f"Versions of servable bcl that are links to no folder are not served: {base / '2'}" in caplog.text
