"""A folder that appears whole or not at all."""

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
    """Yield an empty folder beside `out`; when the block ends without an error it takes `out`'s place.

    What a killed process has left beside `out` is removed first.

    Args:
        out: the folder to write.
        mark: a file that every folder written this way holds, by which an earlier one is known.

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
    """Raise ContractError unless `out` is new, empty, or a folder that holds the mark."""
    if not out.exists() or (out / mark).is_file() or (out.is_dir() and not any(out.iterdir())):
        return
    raise broken(
        out, "a new or empty folder, or one written by an earlier run", "something else, which is left as it is"
    )
