"""The bound of rows inside the exported graph, asked as tensorflow_model_server does: without a server's own bounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_export

from serving.export.served_model import ServedModel, export
from serving.protocol.errors import RequestError
from serving.savedmodel.session import SavedModelSession

SONGS = small_export.catalogue(5)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SavedModelSession]:
    loaded = SavedModelSession(str(small_export.SmallExport(SONGS).export(tmp_path_factory.mktemp("bounds") / "1")))
    yield loaded
    loaded.close()


def run(session: SavedModelSession, name: str, rows: int) -> int:
    """Runs a signature on songs without values; returns how many rows came back."""
    signature = session.signatures[name]
    feeds = []
    for info in signature.inputs.values():
        shape = [rows, *[dim.size if dim.size > 0 else 1 for dim in info.tensor_shape.dim[1:]]]
        dtype: Any = {1: np.float32, 3: np.int32, 7: object}[info.dtype]
        value = b"" if dtype is object else 1
        feeds.append((info.name, np.full([int(size) for size in shape], value, dtype)))
    return len(session.run(feeds, [signature.outputs["known_fields"].name])[0])


@pytest.mark.parametrize(
    ("name", "most", "text"),
    [
        ("embed", 1024, r"(attribute|audio|lyric)_\w+: expected at most 1024 rows\. Received: 1025"),
        ("match", 1024, r"(attribute|audio|lyric)_\w+: expected at most 1024 rows\. Received: 1025"),
        ("match_unknown", 1024, r"(attribute|audio|lyric)_\w+: expected at most 1024 rows\. Received: 1025"),
        ("serving_default", 10_000, r"examples: expected at most 10000 rows\. Received: 10001"),
        ("candidate", 10_000, r"examples: expected at most 10000 rows\. Received: 10001"),
        ("match_examples", 10_000, r"examples: expected at most 10000 rows\. Received: 10001"),
    ],
)
def test_the_graph_refuses_too_many_rows(session: SavedModelSession, name: str, most: int, text: str) -> None:
    assert run(session, name, most) == most
    with pytest.raises(RequestError, match=f"INVALID_ARGUMENT: .*{text}"):
        run(session, name, most + 1)


def test_an_export_sets_the_bounds(tmp_path: Path) -> None:
    made = small_export.SmallExport(SONGS)
    settings = {
        "fields": small_export.FIELDS,
        "transform": small_export.Transform(),
        "model": small_export.Towers(made.song_tower, made.candidate_tower),
        "warm_ids": made.ids,
        "index_ids": made.ids,
        "index_embeddings": made.index,
    }
    export(ServedModel(**settings, max_rows=0, max_examples=3), str(tmp_path / "1"))
    session = SavedModelSession(str(tmp_path / "1"))
    assert run(session, "embed", 5000) == 5000
    with pytest.raises(RequestError, match=r"examples: expected at most 3 rows\. Received: 4"):
        run(session, "serving_default", 4)
    session.close()
    with pytest.raises(ValueError, match=r"`max_rows` must be 0 or more\. Received: -1"):
        ServedModel(**settings, max_rows=-1)
