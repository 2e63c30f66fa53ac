"""One process at a time in a folder, however earlier processes ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.files.folder_lock import FolderError, FolderInUseError, only_process_in

_HOLDER = """
    import os, sys, time
    from serving.files.folder_lock import only_process_in
    with only_process_in(sys.argv[1]):
        if "fork" in sys.argv and os.fork() == 0:
            print(os.getpid(), flush=True)
            time.sleep(600)
        if "fork" not in sys.argv:
            print("held", flush=True)
        sys.stdin.read()
"""


@contextmanager
def holder(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """A process that holds the folder until its standard input ends."""
    command = [sys.executable, "-c", textwrap.dedent(_HOLDER), str(folder), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_the_second_process_gets_an_error_that_names_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with holder(folder) as (process, _):
        with pytest.raises(FolderInUseError) as caught, only_process_in(folder, shown=f"OUT: {folder}"):
            pass
        assert re.fullmatch(
            re.escape(f"OUT: {folder}: expected a folder that no other run uses. Received: one in use by process ")
            + f"{process.pid} on {re.escape(socket.gethostname())}, "
            + r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\. Wait for it or stop it\.",
            str(caught.value),
        )
        assert process.stdin
        process.stdin.close()
        assert process.wait() == 0
        assert not folder.parent.exists()  # the block wrote nothing
        with only_process_in(folder):
            (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_what_a_killed_process_held_is_free(tmp_path: Path) -> None:
    with holder(tmp_path) as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / ".lock").exists()
        with only_process_in(tmp_path):
            pass


def test_a_worker_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path, "fork") as (process, worker):
        with pytest.raises(FolderInUseError), only_process_in(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        try:
            os.kill(int(worker), 0)  # it runs on
            with only_process_in(tmp_path):
                pass
        finally:
            os.kill(int(worker), signal.SIGKILL)


def test_this_process_holds_a_folder_once_and_keeps_it(tmp_path: Path) -> None:
    with only_process_in(tmp_path):
        with pytest.raises(FolderInUseError, match=f"by this process, {os.getpid()}"), only_process_in(tmp_path):
            pass
        other = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(_HOLDER), str(tmp_path)],
            input="",
            capture_output=True,
            text=True,
            check=False,
        )
        assert other.returncode == 1 and f"process {os.getpid()} on" in other.stderr
    with only_process_in(tmp_path), only_process_in(tmp_path, ".other"):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_lock_whose_holder_has_not_written_its_name(tmp_path: Path, text: str) -> None:
    with holder(tmp_path):
        (tmp_path / ".lock").write_text(text)
        with pytest.raises(FolderInUseError, match="in use by another process"), only_process_in(tmp_path):
            pass


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for folder, received in (
        (tmp_path / "file", f"{tmp_path / 'file'}, which is a file"),
        (tmp_path / "file" / "below", "a folder below a file"),
        (tmp_path / "new" / ("x" * 300), "File name too long"),
        (tmp_path / "loop", f"{tmp_path / 'loop'}, which is a link that leads nowhere"),
        (tmp_path / "loop" / "below", "Too many levels of symbolic links"),
        (Path("/proc/none"), "No such file or directory"),
    ):
        with pytest.raises(FolderError) as caught, only_process_in(folder):
            pass
        assert str(caught.value) == f"{folder}: expected a folder that can be written. Received: {received}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]
