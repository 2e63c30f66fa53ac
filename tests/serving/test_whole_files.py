"""Files and folders that replace others, and files with two names."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.files.linked_files import link_or_copy, link_tree
from serving.files.whole_files import (
    begin_folder,
    earlier,
    put_file,
    put_folder,
    replace_folder,
    write_whole,
    writing_whole,
)

ROOT = Path(__file__).parents[2]


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "file").write_text(text)
    return folder


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    out = tmp_path / "kept [1]"
    for text in ("first", "second"):
        write(begin_folder(out), text)
        replace_folder(begin_folder_again(out, text), out)
        assert (out / "file").read_text() == text and os.listdir(tmp_path) == ["kept [1]"]


def begin_folder_again(out: Path, text: str) -> Path:
    """Removes a killed process's folder and begins a new one."""
    aside = begin_folder(out)
    assert not aside.exists()
    return write(aside, text)


@pytest.mark.parametrize("renames", [0, 1])
def test_a_kill_leaves_the_old_folder_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    out = write(tmp_path / "kept", "first")
    aside = write(begin_folder(out), "second")
    left = [renames]
    rename = os.rename

    def killed(source: Path, target: Path) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        rename(source, target)

    monkeypatch.setattr("serving.files.whole_files.os.rename", killed)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(aside, out)
    monkeypatch.undo()
    found = out if out.exists() else earlier(out)
    assert (found / "file").read_text() == "first"
    replace_folder(write(begin_folder(out), "third"), out)
    assert (out / "file").read_text() == "third" and os.listdir(tmp_path) == ["kept"]


@pytest.mark.parametrize("number", [18, 1, 95])  # EXDEV, EPERM, EOPNOTSUPP
def test_without_second_names_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source = write(tmp_path / "source", "text")
    link_tree(source, tmp_path / "linked")
    assert os.path.samefile(tmp_path / "linked" / "file", source / "file")

    def no_link(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("serving.files.linked_files.os.link", no_link)
    link_or_copy(source / "file", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "text" and not os.path.samefile(tmp_path / "copy", source / "file")


def test_a_full_disk_is_an_error_and_no_reason_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "source", "text")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serving.files.linked_files.os.link", full)
    with pytest.raises(OSError, match="No space left"):
        link_or_copy(source / "file", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def _with_writing_whole(aside: Path, out: Path) -> None:
    with writing_whole(out) as writing:
        os.rename(aside, writing)


def _with_write_whole(aside: Path, out: Path) -> None:
    write_whole(out, aside.read_text())


@pytest.mark.parametrize(
    ("put", "is_folder"),
    [
        (put_file, False),
        (_with_writing_whole, False),
        (_with_write_whole, False),
        (put_folder, True),
        (replace_folder, True),
    ],
)
def test_content_reaches_the_disk_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Path, Path], None], is_folder: bool
) -> None:
    aside, out = tmp_path / "aside", tmp_path / "out"
    write(aside, "text") if is_folder else aside.write_text("text")
    content = {(aside / "file" if is_folder else aside).stat().st_ino, *([aside.stat().st_ino] * is_folder)}
    events: list[tuple[str, int]] = []
    sync = os.fsync

    def synced(descriptor: int) -> None:
        sync(descriptor)
        events.append(("fsync", os.fstat(descriptor).st_ino))

    def renaming(rename: Callable[..., None]) -> Callable[..., None]:
        def renamed(source: Path, target: Path) -> None:
            rename(source, target)
            if Path(target) == out:
                events.append(("rename", os.stat(target).st_ino))

        return renamed

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renaming(os.rename))
    monkeypatch.setattr(os, "replace", renaming(os.replace))
    put(aside, out)
    place = next(place for place, (what, _) in enumerate(events) if what == "rename")
    before, after = events[:place], events[place + 1 :]
    if put is _with_write_whole:
        content = {events[place][1]}
    assert content <= {inode for _, inode in before}
    assert ("fsync", tmp_path.stat().st_ino) in after


def _renames(file: Path) -> list[str]:
    """Returns the calls that rename a file or folder."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner, name = ast.unparse(node.func.value), node.func.attr
        is_function = owner in ("os", "shutil") and name in ("rename", "renames", "replace", "move")
        # Methods of Path have one argument. Those of str and tables, and dataclasses.replace, have more.
        is_method = name in ("rename", "replace") and len(node.args) == 1 and not node.keywords
        if is_function or is_method or (owner in ("FileSystems", "tf.io.gfile") and name == "rename"):
            found.append(f"{owner}.{name}")
    return found


def test_nothing_else_renames_what_it_has_written() -> None:
    files = [
        file for top in ("serving", "tfx_pipeline", "bcl_keras", "benchmarks") for file in (ROOT / top).rglob("*.py")
    ]
    found = {str(file.relative_to(ROOT)): calls for file in files if (calls := _renames(file))}
    assert found == {
        "serving/files/whole_files.py": ["os.replace", "os.rename", "os.rename"],
        # Moves aside what it then removes.
        "serving/refresh/old_versions.py": ["os.rename"],
        # On remote file systems, which have no sync.
        "tfx_pipeline/targeting/data/sinks.py": ["FileSystems.rename"],
        # Between steps of one run: TFX itself does not sync what it keeps there.
        "tfx_pipeline/tfx_extensions/parquet_executor.py": ["tf.io.gfile.rename"],
    }
