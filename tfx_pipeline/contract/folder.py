"""Writes a folder so that it appears whole or not at all."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.files.folder_lock import only_process_in
from serving.files.whole_files import replace_folder
from tfx_pipeline.contract.errors import broken


@contextmanager
def new_folder(out: Path, mark: str) -> Iterator[Path]:
    """Yields an empty folder beside `out`. When the block ends without an error, it replaces `out`.

    What a killed process left beside `out` is removed first.

    Args:
        out: The folder to write.
        mark: A file that marks a folder as written in this way, so that a later call may replace it.

    Raises:
        ContractError: `out` holds something else, which is left as it is.
        FolderError: `out` cannot be written, or another process is writing it.
    """
    check_replaceable(out, mark)
    out = out.absolute()
    with only_process_in(out.parent, f".{out.name}.lock", shown=out):
        for left in out.parent.glob(f".{glob.escape(out.name)}.writing-*"):
            shutil.rmtree(left, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.writing-", dir=out.parent))
        try:
            new = aside / "new"
            new.mkdir()
            yield new
            replace_folder(new, out, before=aside / "old")
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def check_replaceable(out: Path, mark: str) -> None:
    """Raises ContractError unless `out` is new, empty, or a folder that holds the mark."""
    if not out.exists() or (out / mark).is_file() or (out.is_dir() and not any(out.iterdir())):
        return
    raise broken(
        out, "a new or empty folder, or one written by an earlier run", "something else, which is left as it is"
    )
