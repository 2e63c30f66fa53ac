"""The demo refuses bad input before any work; `test_whole_path` covers its answers."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.files.folder_lock import only_process_in
from tfx_pipeline.contract.__main__ import main as check_contract
from tfx_pipeline.datasets.simulate import simulate
from tfx_pipeline.demo import main
from tfx_pipeline.runtime.console import StoppedError, stop_with_message


def test_bad_input_ends_with_one_message_and_writes_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tfx_pipeline.demo", "--data", str(tmp_path / "data"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 2
    assert "songs.parquet" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not out.exists()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    simulate(folder, songs=60, users=30, plays=600, seed=1)
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which the demo ends before any work."""
    assert main([str(argument) for argument in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    return shown.err


def test_folders_that_cannot_be_written(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for out, shown in (
        (tmp_path / "file", f"expected a folder that can be written. Received: {tmp_path / 'file'}, which is a file"),
        (tmp_path / "file" / "out", "expected a folder that can be written. Received: a folder below a file"),
        (Path("/proc/out"), "expected a folder that can be written. Received: No such file or directory"),
        (tmp_path / "a[1]", "expected a path without * ? [ \\, which TensorFlow takes for a pattern. Received: "),
        (tmp_path / "x*y", "expected a path without"),
        (tmp_path / "q?", "expected a path without"),
        (tmp_path / "back\\slash", "expected a path without"),
        (os.fsdecode(os.fsencode(tmp_path) + b"/\xff"), "expected a path in UTF-8. Received: b'"),
        (data, f"expected a folder outside the data, {data}. Received: "),
        (data / "span-7", f"expected a folder outside the data, {data}. Received: "),
    ):
        line = refused(capsys, "--data", data, "--out", out)
        assert line.startswith("OUT: ") and shown in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert not (data / "span-7").exists()


def test_a_folder_in_use_is_left_alone(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with only_process_in(tmp_path / "out"):
        (tmp_path / "out" / "kept").touch()
        line = refused(capsys, "--data", data, "--out", tmp_path / "out")
        assert f"expected a folder that no other run uses. Received: one in use by this process, {os.getpid()}" in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept"]


def test_a_settings_file_is_read_before_any_work(data: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "list.json").write_text("[]")
    line = refused(capsys, "--data", data, "--out", tmp_path / "out", "--settings", tmp_path / "list.json")
    assert "list.json: expected an object of settings. Received: []" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", ["4k", "24k"])  # no room for a folder, and for half of the input
def test_a_full_disk(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    try:
        assert "No space left on device" in refused(capsys, "--data", data, "--out", tmp_path / "out")
        assert check_contract([str(data), "--out", str(tmp_path / "checked")]) == 2
        assert "No space left on device" in capsys.readouterr().err
        assert not any(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def fail_by(error: Exception) -> None:
    """Raises an error; one of the operating system comes wrapped, as from a worker of Beam."""
    if isinstance(error, OSError):
        raise RuntimeError("a worker failed") from error
    raise error


def test_a_disk_that_fills_up_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TensorFlow and SQLite say it in words of their own."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for error, code in (
        (full, 2),
        (RuntimeError("RESOURCE_EXHAUSTED: x.gz; No space left on device"), 2),
        (RuntimeError("INTERNAL: database or disk is full"), 2),
        (RuntimeError("the data gate stops the run: songs"), 1),
    ):
        with pytest.raises(StoppedError) as caught, stop_with_message(tmp_path / "run.log"):
            fail_by(error)
        assert caught.value.exit_code == code
        why = f"{tmp_path}: no space is left on the disk. Free some and start again." if code == 2 else str(error)
        assert str(caught.value) == f"The pipeline stopped: {why}\nLog: {tmp_path / 'run.log'}"
        assert "Traceback" in capsys.readouterr().err  # which is the log in a run
