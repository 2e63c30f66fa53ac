"""What a run published, copied to a store: whole or marked as not whole, and never loadable before it is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from pyarrow import fs

from tests.tfx_pipeline.s3_server import KEY, SECRET, S3Server, s3_server
from tfx_pipeline.contract import ContractError
from tfx_pipeline.contract.stores.location import locate
from tfx_pipeline.contract.stores.writing import MARK, marked, write_folder
from tfx_pipeline.outputs.uploading import upload
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.tfx_extensions import version_store
from tfx_pipeline.tfx_extensions.push_config import PushConfig
from tfx_pipeline.upload import main

FILES = {"saved_model.pb": b"graph", "variables/variables.index": b"i", "assets.extra/wörter 1.txt": b"", "zz": b"last"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "the run"
    for version in (3, 12):
        write(run / "serving" / str(version), {**FILES, "number": str(version).encode()})
    (run / "serving" / ".pushing").mkdir()
    write(run / "history" / "2026-11-01T10-00", {"manifest.json": b"{}", "targets.parquet": b"t" * 3_000_000})
    write(run / "refreshed" / "12", {"manifest.json": b"{}", "targets.parquet": b"r"})
    write(run / "refreshed" / "12.writing", {"targets.parquet": b"half"})
    os.symlink(os.path.join("history", "2026-11-01T10-00"), run / "latest")
    return run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def store(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in (("ENDPOINT_URL", server.url), ("ACCESS_KEY_ID", KEY), ("SECRET_ACCESS_KEY", SECRET)):
        monkeypatch.setenv(f"AWS_{name}", value)
    server.system.create_dir("models")
    return server


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def stored(system: fs.FileSystem, folder: str) -> dict[str, bytes]:
    found = system.get_file_info(fs.FileSelector(folder, recursive=True))
    files = [info.path for info in found if info.type == fs.FileType.File]
    return {path.removeprefix(f"{folder}/"): system.open_input_file(path).readall() for path in files}


def check_whole(system: fs.FileSystem, folder: str, expected: dict[str, bytes]) -> None:
    files = stored(system, folder)
    mark = json.loads(files.pop(MARK))
    assert files == expected
    assert mark["files"] == {n: {"bytes": len(c), "sha256": sha256(c).hexdigest()} for n, c in expected.items()}


def test_all_that_a_run_published_is_copied_once(
    run: Path, store: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run), "s3://models/my model"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    base = "models/my model"
    for version in ("3", "12"):
        check_whole(store.system, f"{base}/serving/{version}", {**FILES, "number": version.encode()})
    tables = {"manifest.json": b"{}", "targets.parquet": b"t" * 3_000_000}
    check_whole(store.system, f"{base}/history/2026-11-01T10-00", tables)
    assert stored(store.system, base)["latest.txt"] == b"2026-11-01T10-00\n"
    assert not [name for name in stored(store.system, base) if "writing" in name or "pushing" in name]
    assert main([str(run), "s3://models/my model"]) == 0
    assert "nothing to copy" in capsys.readouterr().out


def test_what_makes_a_version_loadable_comes_last_but_the_marker(run: Path, store: S3Server) -> None:
    before = len(store.asked())
    version_store.copy_versions(run / "serving", "s3://models/order")
    written = [line for line in store.asked()[before:] if not line.startswith(("GET", "HEAD")) and "/12/" in line]
    files = list(dict.fromkeys(line.split()[1].partition("?")[0].partition("/12/")[2] for line in written))
    assert files[-2:] == ["saved_model.pb", MARK]
    assert len(files) > 2


def test_a_stopped_copy_has_no_marker_and_is_finished_by_the_next(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    place = locate((tmp_path / "store").as_uri()) / "3"
    from tfx_pipeline.contract.stores import writing

    copy = writing._copy

    def stopped(file: Path, place: Path, name: str) -> None:
        if name == "saved_model.pb":
            raise KeyboardInterrupt
        copy(file, place, name)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "_copy", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_folder(run / "serving" / "3", place, ["saved_model.pb"])
    assert marked(place) is None
    left = stored(fs.LocalFileSystem(), str(place))
    assert left.keys() == {*FILES, "number"} - {"saved_model.pb"}
    assert write_folder(run / "serving" / "3", place, ["saved_model.pb"])
    check_whole(fs.LocalFileSystem(), str(place), {**FILES, "number": b"3"})
    assert not write_folder(run / "serving" / "3", place, ["saved_model.pb"])


def test_another_content_loses_its_marker_before_it_changes(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfx_pipeline.contract.stores import writing

    place = tmp_path / "store" / "3"
    write_folder(run / "serving" / "3", place)
    (run / "serving" / "3" / "number").write_bytes(b"other")
    monkeypatch.setattr(
        writing, "_copy", lambda *_: pytest.fail("the marker is there") if (place / MARK).exists() else None
    )
    assert write_folder(run / "serving" / "3", place)


@pytest.mark.parametrize("keep", [None, 1, 2])
def test_old_versions_go_where_that_is_asked(run: Path, tmp_path: Path, keep: int | None) -> None:
    place = tmp_path / "store"
    write(place / "serving" / "7", {"saved_model.pb": b"of somebody else"})
    upload(RunFolder.at(run), place)
    upload(RunFolder.at(run), place, keep)
    assert {path.name for path in (place / "serving").iterdir()} == ({"7", "12"} if keep == 1 else {"3", "7", "12"})


def test_errors_name_the_place(run: Path, store: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "s3://no-such-bucket-here/x"]) == 2
    message = capsys.readouterr().err
    assert "s3://no-such-bucket-here/x/serving/3" in message and "no such bucket" in message
    assert SECRET not in message
    assert main([str(run / "history"), "s3://models/x"]) == 2
    assert "no folder `serving` in it" in capsys.readouterr().err
    assert main([str(run), "s3://models/x", "--keep-versions", "0"]) == 2
    with pytest.raises(ContractError, match="expected a path, or a URI with one of"):
        upload(RunFolder.at(run), "ftp://host/x")


@pytest.mark.parametrize("store", ["runs/models", "s3://key:hush@bucket/x"])
def test_a_store_of_the_settings_is_a_uri_without_credentials(store: str) -> None:
    with pytest.raises(ValueError, match="must be a URI") as error:
        PushConfig(store=store)
    assert "hush" not in str(error.value)
