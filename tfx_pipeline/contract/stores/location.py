"""Folders and files on this machine or in a store, by path or URI.

`locate` returns a `Path` for a path and for file://, else a `StorePath`. A `StorePath` has the part of `Path` that the
contract needs: names, parents, listing and reading. So tables are read from both in the same way.

- `s3://bucket/key` and `s3a://bucket/key`; `stores.s3` says which variables of the environment it reads,
- `gs://bucket/key`, with the credentials that Google's libraries find,
- `hdfs://host:port/path`, with libhdfs and Java of the machine,
- what else the installed pyarrow knows, such as `abfs://`.

What follows the bucket is the key as it is: `%20` in it means these three letters, which Spark writes in names of
folders. In file:// a `%20` is a blank, as the standard for it says.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, TypeAlias
from urllib.parse import unquote

from pyarrow import fs

from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.stores.failures import reason_of, unreadable
from tfx_pipeline.contract.stores.s3 import environment, open_s3

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)://([^/]*)(.*)", re.DOTALL)
_S3 = ("s3", "s3a")
_OTHERS = ("gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
#: Schemes in which a bucket is the first part of a path.
_BUCKETS = (*_S3, "gs", "gcs")


class Store:
    """A file system of a store, and what its folders were found to hold.

    A folder is listed once, so that one check sees one state of it. `locate` returns a new one each time.

    Args:
        begins: How URIs into it begin, for messages.
        system: The file system.
    """

    def __init__(self, begins: str, system: fs.FileSystem) -> None:
        self.begins, self.system = begins, system
        self._listed: dict[str, dict[str, fs.FileInfo] | None] = {}

    def listed(self, path: str) -> dict[str, fs.FileInfo] | None:
        """Returns what lies in a folder by name; None where there is no such folder.

        Raises:
            ContractError: The store does not answer, has no such bucket, or does not let us list it.
        """
        if path not in self._listed:
            try:
                found = self.system.get_file_info(fs.FileSelector(path))
                named = {_name(info.path): info for info in found if info.path.strip("/") != path.strip("/")}
            except (FileNotFoundError, NotADirectoryError):
                named = None
            except OSError as error:
                raise unreadable(f"{self.begins}{path}", "a folder that can be listed", error) from error
            self._listed[path] = named or None
        return self._listed[path]

    def info(self, path: str) -> fs.FileInfo:
        """Returns what lies at a path, without the listing of the folder above it."""
        try:
            return self.system.get_file_info(path)
        except OSError as error:
            raise unreadable(f"{self.begins}{path}", "a file or a folder", error) from error


def _name(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True, order=True)
class StorePath:
    """A folder or file in a store.

    Attributes:
        path: Its path in the file system, without a slash at its end.
        store: The store.
        root: The path that was located. Folders above it are not listed.
    """

    path: str
    store: Store = field(compare=False, repr=False)
    root: str = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.store.begins}{self.path}"

    def __reduce__(self) -> tuple[Callable[[str], Location], tuple[str]]:
        return locate, (str(self),)  # The credentials stay here: the other side has an environment of its own.

    def __truediv__(self, name: str | os.PathLike[str]) -> StorePath:
        return StorePath(f"{self.path}/{os.fspath(name)}", self.store, self.root)

    @property
    def name(self) -> str:
        """The last part."""
        return _name(self.path)

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> StorePath:
        """The folder above."""
        return StorePath(self.path.rpartition("/")[0], self.store, self.root)

    def relative_to(self, other: object) -> PurePosixPath:
        """Returns the path below a folder of the same store."""
        if not isinstance(other, StorePath) or not self.path.startswith(f"{other.path}/"):
            raise ValueError(f"{self} is not below {other}")
        return PurePosixPath(self.path[len(other.path) + 1 :])

    def resolve(self) -> StorePath:
        """Returns itself: stores have no links."""
        return self

    def is_dir(self) -> bool:
        """Returns whether it is a folder."""
        info = self._known()
        if info is not None and (self.path != self.root or info.type == fs.FileType.File):
            return bool(info.type == fs.FileType.Directory)
        # A bucket that is not there is an error only where it is listed.
        return self.path == self.root and self.store.listed(self.path) is not None

    def is_file(self) -> bool:
        """Returns whether it is a file."""
        info = self._known()
        return info is not None and info.type == fs.FileType.File

    def exists(self) -> bool:
        """Returns whether it is there."""
        return self._known() is not None or (self.path == self.root and self.is_dir())

    def iterdir(self) -> Iterator[StorePath]:
        """Yields what lies in the folder."""
        yield from (self / name for name in self.store.listed(self.path) or {})

    def open(self, mode: str = "r", **options: Any) -> IO[Any]:
        """Returns the file, open to be read: in mode "rb" as bytes, else as text."""
        raw: Any = io.BufferedReader(self.arrow_file())
        return raw if "b" in mode else io.TextIOWrapper(raw, **options)

    def arrow_file(self) -> Any:
        """Returns the file as Arrow reads it.

        Raises:
            ContractError: It cannot be opened.
        """
        try:
            return self.store.system.open_input_file(self.path)
        except OSError as error:
            raise unreadable(str(self), "a file that can be read", error) from error

    def state(self) -> str:
        """Returns text that changes when the file does: its size, and the time when it was written."""
        info = self._known() or self.store.info(self.path)
        return f"{info.size} {info.mtime_ns}"

    def _known(self) -> fs.FileInfo | None:
        if self.path == self.root:
            info = self.store.info(self.path)
            return None if info.type == fs.FileType.NotFound else info
        return (self.store.listed(self.parent.path) or {}).get(self.name)


#: A folder or a file.
Location: TypeAlias = Path | StorePath


def locate(given: Location | str) -> Location:
    """Returns the place that a path or a URI names.

    Raises:
        ContractError: The URI is of an unknown kind, names no bucket or host, or has credentials in it.
    """
    if isinstance(given, StorePath):
        return locate(str(given))  # with no listing of before
    found = _URI.fullmatch(str(given)) if isinstance(given, str) else None
    if found is None:
        return Path(given)
    scheme, authority, rest = found[1].lower(), found[2], found[3]
    if scheme == "file":
        return (
            Path(unquote(rest)) if authority in ("", "localhost") else _refused(f"file://{authority}", "file:///path")
        )
    if "@" in authority and (":" in authority or scheme in _BUCKETS):
        bare = f"{scheme}://{authority.rpartition('@')[2]}{rest}"
        _refused(bare, "a URI without credentials, which belong into the environment", "some in the URI")
    if scheme not in (*_S3, *_OTHERS):
        known = ", ".join(f"{name}://" for name in ("file", "s3", "gs", "hdfs"))
        _refused(f"{scheme}://{authority}{rest}", f"a path, or a URI with one of {known}", f"{scheme}://")
    if scheme in _BUCKETS and not authority:
        _refused(f"{scheme}://{rest}", f"{scheme}://bucket/folder", "no bucket")
    return _in_store(scheme, authority, rest)


def children(folder: Location) -> list[Location]:
    """Returns what lies in a folder, in the order of its names."""
    found: list[Location] = list(folder.iterdir())
    return sorted(found, key=lambda path: path.name)


def below(path: Location, folder: Location) -> PurePath:
    """Returns the path of something below a folder, from there."""
    if isinstance(path, StorePath):
        return path.relative_to(folder)
    return path.relative_to(str(folder))


@lru_cache(maxsize=8)
def _system(scheme: str, authority: str, _: tuple[str | None, ...]) -> fs.FileSystem:
    """Returns the file system, the same one for the same environment: each holds connections and threads."""
    return open_s3() if scheme in _S3 else fs.FileSystem.from_uri(f"{scheme}://{authority}/")[0]


def _in_store(scheme: str, authority: str, rest: str) -> StorePath:
    begins = f"{scheme}://" if scheme in _BUCKETS else f"{scheme}://{authority}"
    path = (f"{authority}{rest}" if scheme in _BUCKETS else rest).rstrip("/")
    try:
        system = _system(scheme, "" if scheme in _S3 else authority, environment())
    except (OSError, ValueError, ImportError, NotImplementedError) as error:
        raise broken(f"{begins}{path}", f"a store that pyarrow can open by {scheme}://", reason_of(error)) from error
    return StorePath(path, Store(begins, system), path)


def _refused(shown: str, expected: str, received: str = "another host") -> Path:
    raise broken(shown, expected, received)
