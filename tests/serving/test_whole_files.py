"""Folders that take the place of others, and files with two names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.files import linked_files, whole_files
from serving.files.linked_files import link_or_copy, link_tree
from serving.files.whole_files import begin_folder, earlier, replace_folder


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
    """A killed process's folder goes before a new one is begun."""
    aside = begin_folder(out)
    assert not aside.exists()
    return write(aside, text)


@pytest.mark.parametrize("renames", [0, 1])
def test_one_of_both_is_there_wherever_a_kill_comes(
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

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(whole_files.os, "rename", killed)
        replace_folder(aside, out)
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

    monkeypatch.setattr(linked_files.os, "link", no_link)
    link_or_copy(source / "file", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "text" and not os.path.samefile(tmp_path / "copy", source / "file")


def test_a_full_disk_is_an_error_and_no_reason_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "source", "text")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(linked_files.os, "link", full)
    with pytest.raises(OSError, match="No space left"):
        link_or_copy(source / "file", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
