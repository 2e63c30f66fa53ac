"""Files in which some text stands, whatever packs it; shares no code with `tfx_pipeline.removal`."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

#: Where docs/explanation/personal-data.md says that listeners' ids lie, below the folder of the run.
ALLOWED = (
    "input/plays",
    "admitted/plays",
    "refresh/input/plays",
    "pipeline/PlayGen/examples/",
    "pipeline/AudienceTargeter/",
    "latest/targets.parquet",
    "listeners.parquet",
    "exclusions.parquet",
)


def is_allowed(file: str) -> bool:
    """Returns whether ids may stand in a file, named from the run's folder on."""
    published = file.startswith("history/") and file.count("/") == 2 and file.endswith("/targets.parquet")
    return published or file.startswith(ALLOWED)


def files_with(folder: Path, texts: Iterable[str]) -> list[str]:
    """Returns the files below a folder in which one of the texts stands, named from the folder on."""
    wanted = [form for text in texts for form in _forms(text)]
    found = []
    for file in _files(folder):
        name = str(file.relative_to(folder))
        if any(form in name.encode(errors="surrogateescape") for form in wanted) or any(
            form in content for content in _contents(file) for form in wanted
        ):
            found.append(name)
    return found


def _forms(text: str) -> set[bytes]:
    """Returns a text in UTF-8, as JSON and protobuf's text spell it, and as Python shows its bytes."""
    octal = "".join(chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in text.encode())
    escaped = text.encode("ascii", "backslashreplace")
    json_like = "".join(char if char.isascii() else f"\\u{ord(char):04x}" for char in text)
    return {text.encode(), octal.encode(), escaped, json_like.encode(), repr(text.encode())[2:-1].encode()}


def _files(folder: Path) -> Iterator[Path]:
    for path, _, names in os.walk(folder):
        yield from (file for name in sorted(names) if (file := Path(path, name)).is_file() and not file.is_symlink())


def _contents(file: Path) -> Iterator[bytes]:
    """Yields a file's bytes, and what is packed in it."""
    raw = file.read_bytes()
    yield raw
    if raw.startswith(b"PAR1"):
        table = pq.read_table(file, use_threads=False)
        for column in table.columns:
            yield "\n".join(map(str, column.to_pylist())).encode()
    elif raw.startswith(b"\x1f\x8b"):
        yield gzip.decompress(raw)
    elif raw.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                yield archive.read(name)
