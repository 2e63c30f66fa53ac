"""Listeners who asked to be forgotten. Their plays are left out of everything that is prepared in the folder of a run.

The list holds no ids. It keeps the BLAKE2b hash of each id, with a key that is drawn for the folder of the run. So the
list alone names nobody, and the lists of two folders cannot be joined. With the list and an id, anybody can test
whether that id is on it, because the next run must do so.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.files.whole_files import write_whole
from tfx_pipeline.contract.columns import Numbers
from tfx_pipeline.contract.errors import broken

#: In the folder of a run.
NAME = "forgotten.json"
_BYTES = 16


@dataclass(frozen=True)
class Forgotten:
    """The list.

    Attributes:
        key: The key of the hashes.
        hashes: The hashes of the ids.
    """

    key: bytes
    hashes: frozenset[bytes]

    @classmethod
    def none(cls) -> Forgotten:
        """Returns an empty list with a new key."""
        return cls(secrets.token_bytes(32), frozenset())

    @classmethod
    def read(cls, file: Path) -> Forgotten:
        """Returns the list that a file holds, or an empty one where there is no file.

        Raises:
            ContractError: The file is damaged. Without it, a run would use the plays of these listeners again.
        """
        remedy = "Restore it from a copy, or remove it and forget all its listeners again."
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            hashes = frozenset(map(bytes.fromhex, found["hashes"]))
            key = bytes.fromhex(found["key"])
        except FileNotFoundError:
            return cls.none()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise broken(file, "the list of forgotten listeners", "a damaged file", remedy=remedy) from error
        if not 16 <= len(key) <= 64 or any(len(one) != _BYTES for one in hashes):
            raise broken(file, "the list of forgotten listeners", "a damaged file", remedy=remedy)
        return cls(key, hashes)

    @classmethod
    def of_run(cls, out: Path) -> Forgotten:
        """Returns the list that applies to a folder: the nearest one beside or above it."""
        for folder in out.absolute().parents:
            if (folder / NAME).exists():
                return cls.read(folder / NAME)
        return NOBODY

    def write(self, file: Path) -> None:
        """Writes the list, whole or not at all."""
        content = {"key": self.key.hex(), "hashes": sorted(one.hex() for one in self.hashes)}
        write_whole(file, json.dumps(content, indent=1) + "\n")

    def and_also(self, users: Iterable[str]) -> Forgotten:
        """Returns the list with more listeners."""
        return Forgotten(self.key, self.hashes | {self._hash(user) for user in users})

    def marks(self, users: pa.Array) -> Numbers:
        """Returns which of the ids are on the list."""
        if not self.hashes or not len(users):
            return np.zeros(len(users), bool)
        coded = users.dictionary_encode()
        hashes = (self._hash(user) for user in coded.dictionary.to_pylist())
        listed = coded.dictionary.filter(pa.array([one in self.hashes for one in hashes], pa.bool_()))
        return np.asarray(pc.is_in(users, value_set=listed.cast(users.type)))

    def state(self) -> str:
        """Returns text that changes whenever the list does."""
        return " ".join([self.key.hex(), *sorted(one.hex() for one in self.hashes)]) if self.hashes else ""

    def _hash(self, user: str) -> bytes:
        return hashlib.blake2b(user.encode(), digest_size=_BYTES, key=self.key).digest()


#: An empty list.
NOBODY = Forgotten(b"", frozenset())
