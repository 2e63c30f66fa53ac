"""Where a result comes from: settings, code and data, by which it is refused when it is stale; and the commit."""

from __future__ import annotations

import hashlib
import io
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from benchmarks.quality.code_digest import ROOT, code_digest
from benchmarks.quality.problem import Problem
from benchmarks.quality.tasks import ask
from benchmarks.targeting_study.datasets import DataSet

#: What must be as it is now; the commit may be another, as long as no definition behind the figure has changed.
CHECKED = ("settings", "code", "data", "epochs")


@dataclass(frozen=True)
class Provenance:
    """What a row's values were made from.

    Attributes:
        settings: What the row is fitted with, as text.
        code: Digest of the definitions behind the row and the measures.
        data: Digest of songs, plays and fields.
        epochs: Most epochs of a trained row, as text: a quick run's values are not the table's.
        commit: Of the checkout, with `+` where tracked files differ from it; "unknown" outside one.
    """

    settings: str
    code: str
    data: str
    epochs: str
    commit: str

    @classmethod
    def of(cls, row: Any, data_digest: str, epochs: int | None) -> Provenance:
        """Returns the provenance that a row's values would have now.

        Args:
            row: With `fit` and `settings`.
            data_digest: Of the data set.
            epochs: Most epochs of a trained row.
        """
        return cls(row.settings, code_digest(row.fit, ask, Problem), data_digest, str(epochs), commit())

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns it as arrays of one text each, to be kept beside the values."""
        return {name: np.array(value) for name, value in asdict(self).items()}

    def stale_in(self, kept: Any) -> list[str]:
        """Returns which of `CHECKED` are otherwise in a kept file, or lack there."""
        return [name for name in CHECKED if name not in kept or str(kept[name]) != getattr(self, name)]


def data_digest(data: DataSet) -> str:
    """Returns 16 hexadecimal digits of a data set: ids, plays, and the fields' values."""
    digest = hashlib.blake2b(digest_size=8)
    for ids in (data.songs, data.users):
        digest.update(b"\n".join(ids.tolist()))
    for part in (data.plays.indptr, data.plays.indices, data.plays.data):
        digest.update(np.asarray(part, np.int64).tobytes())
    fields = data.features.select([field.name for field in data.fields]).combine_chunks()
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, fields.schema.remove_metadata()) as stream:
        stream.write_table(fields.replace_schema_metadata(None))
    digest.update(sink.getvalue())
    return digest.hexdigest()


@cache
def commit() -> str:
    """Returns the commit of the checkout, with `+` where tracked files differ from it; "unknown" outside one."""
    asked = ["git", "-C", str(ROOT)]
    try:
        found = subprocess.run([*asked, "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True, check=False)
        changed = subprocess.run([*asked, "diff", "--quiet", "HEAD"], capture_output=True, check=False).returncode == 1
    except OSError:  # no git here
        return "unknown"
    return (found.stdout.strip() or "unknown") + "+" * changed
