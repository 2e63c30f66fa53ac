"""The files of a study: a row's values of one split, beside what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.provenance import Provenance
from benchmarks.quality.tasks import Values
from serving.files.whole_files import put_file

SEPARATOR = " | "


def row_path(folder: Path, seed: int, row: str) -> Path:
    """Returns the file of a row's values."""
    return folder / str(seed) / f"{row}.npz"


def write_row(path: Path, values: Values, seconds: float, made_from: Provenance) -> None:
    """Writes a row's values, whole or not at all."""
    arrays = {
        task + SEPARATOR + metric: of_metric.astype(np.float32)
        for task, metrics in values.items()
        for metric, of_metric in metrics.items()
    }
    save(path, {"seconds": np.array(seconds), **made_from.arrays(), **arrays})


def stale(path: Path, now: Provenance) -> list[str] | None:
    """Returns what of a kept row has changed since, nothing if it is current; None if there is no such file."""
    if not path.exists():
        return None
    with np.load(path) as kept:
        return now.stale_in(kept)


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays, whole or not at all."""
    aside = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(aside, **arrays)
    put_file(aside, path)


def put(path: Path, found: Any) -> None:
    """Writes plain values as JSON, whole or not at all."""
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(found))
    put_file(aside, path)


def numbers_of(ids: Iterable[bytes]) -> np.ndarray:
    """Returns a number for each id, the same in every split, as ids of any bytes do not fit into an array."""
    digests = (hashlib.blake2b(item, digest_size=8).digest() for item in ids)
    return np.array([int.from_bytes(digest, "big") >> 1 for digest in digests], np.int64)
