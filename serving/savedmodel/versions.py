"""Which versions of a model are in its folder, and which of them should be served."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class Policy:
    """Which versions to serve.

    Attributes:
        kind: "latest", "all" or "specific".
        count: How many of the highest versions for `latest`; default 1.
        versions: For `specific`.
    """

    kind: str = "latest"
    count: int = 1
    versions: tuple[int, ...] = ()

    @classmethod
    def from_proto(cls, proto: Any) -> Policy:
        """Reads a ServableVersionPolicy; unset means the latest version only."""
        choice = proto.WhichOneof("policy_choice")
        if choice == "all":
            return cls("all")
        if choice == "specific":
            return cls("specific", versions=tuple(proto.specific.versions))
        return cls("latest", max(1, proto.latest.num_versions))

    def select(self, versions: Mapping[int, str]) -> dict[int, str]:
        """Returns the versions to serve of those there are, by number and path; missing specific ones are left out."""
        if self.kind == "all":
            return dict(versions)
        if self.kind == "specific":
            return {version: versions[version] for version in self.versions if version in versions}
        return {version: versions[version] for version in sorted(versions, reverse=True)[: self.count]}


def parse_version(name: str) -> int | None:
    """Returns the version number of a folder's name, None where it is no number (`00000123` is 123)."""
    if not (name.isascii() and name.isdigit()):
        return None
    number = int(name)
    return number if number <= _INT64_MAX else None


def scan(base_path: str, duplicates: list[str] | None = None) -> dict[int, str]:
    """Returns the versions in a model's folder and their paths; of two names for one number the last wins.

    Args:
        base_path: The folder.
        duplicates: Where given, what did not win is added to it in words.

    Raises:
        OSError: If the folder cannot be listed.
    """
    found: dict[int, str] = {}
    for name in sorted(os.listdir(base_path)):
        version = parse_version(name)
        path = os.path.join(base_path, name)
        if version is not None and os.path.isdir(path):
            if version in found and duplicates is not None:
                duplicates.append(f"version {version} is loaded from {path}, not from {found[version]}")
            found[version] = path
    return found


def why_unlisted(base_path: str, name: str, error: OSError) -> str:
    """Returns why a model's folder could not be listed: it is not there, or the process has too many files open.

    Args:
        base_path: The folder.
        name: The model.
        error: What `scan` raised.
    """
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return (
            f"Could not list base path {base_path} for servable {name}: {error.strerror}. "
            "Raise `ulimit -n`, or lower --rest_api_max_connections."
        )
    if isinstance(error, FileNotFoundError):
        return f"Could not find base path {base_path} for servable {name}"
    return f"Could not list base path {base_path} for servable {name}: {error.strerror}"


def dangling(base_path: str) -> dict[int, str]:
    """Returns links in a model's folder that are named as versions and lead to no folder, by number.

    Raises:
        OSError: If the folder cannot be listed.
    """
    paths = {name: os.path.join(base_path, name) for name in sorted(os.listdir(base_path))}
    return {
        version: path
        for name, path in paths.items()
        if (version := parse_version(name)) is not None and os.path.islink(path) and not os.path.isdir(path)
    }
