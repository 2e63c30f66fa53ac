"""The same seed gives the same catalogue with every release of the libraries that the project runs with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.datasets.simulate import simulate

# To renew them after a change of the simulated law that is meant: run this file, and take what the failed comparisons
# show as received, on one lane; then run it on the other (`make test-latest`). The README's figures of the simulated
# catalogue change with them.
DIGEST = {
    "songs": "4c55f3db0864d2a69ab72f9a852ee4e47a5743ac0a1ce87798002fc1dd10fb10",
    "plays": "450645bb6eca8d277dd8c9fddff26cd8fa372ed5646f011c97e9fbffc965e18c",
}
# Of each decimal field the mean, and the mean of each number times its place.
NUMBERS = {
    "audio_energy": (0.528367, 29.4963),
    "audio_loudness": (-9.21257, -515.017),
    "audio_tempo": (119.867, 6609.17),
    "audio_dynamics": (-0.0397484, -19.3147),
    "audio_valence": (0.490999, 27.5043),
    "audio_timbre": (0.0174459, 11.2167),
    "audio_room": (0.00497922, 19.5443),
    "audio_duration_sec": (209.004, 11397.6),
    "lyric_embedding": (-0.0616797, -61.9269),
    "lyric_sentiment": (-0.0294589, -0.279567),
    "lyric_words": (295.13, 14639.9),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    out = tmp_path_factory.mktemp("simulated") / "catalogue"
    simulate(out, songs=120, users=40, plays=900, seed=7)
    return {name: pq.read_table(Path(out) / f"{name}.parquet") for name in DIGEST}


def is_decimal(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind.value_type if pa.types.is_list(kind) else kind)


def exact_content(table: pa.Table) -> dict[str, Any]:
    """Everything but decimals, of which it is kept whether they are there: their last bits depend on the processor."""
    content: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name]
        values = column.is_valid() if is_decimal(column.type) else column
        content[name] = [value if value is None else str(value) for value in values.to_pylist()]
    return content


@pytest.mark.parametrize("name", DIGEST)
def test_words_ids_and_counts(tables: dict[str, pa.Table], name: str) -> None:
    content = exact_content(tables[name])
    assert len(content["song_id"]) == {"songs": 120, "plays": 900}[name]
    assert hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest() == DIGEST[name]


def test_numbers_and_vectors(tables: dict[str, pa.Table]) -> None:
    found = {}
    for name, column in zip(tables["songs"].column_names, tables["songs"].columns, strict=True):
        if is_decimal(column.type):
            values = np.concatenate([np.ravel(value) for value in column.to_pylist() if value is not None])
            # Each place has a weight of its own, so that an exchange shows.
            found[name] = (float(values.mean()), float(values @ np.arange(len(values)) / len(values)))
    assert set(found) == set(NUMBERS)
    for name, expected in NUMBERS.items():
        assert found[name] == pytest.approx(expected, rel=1e-4, abs=1e-4), f"{name}: received {found[name]}"
