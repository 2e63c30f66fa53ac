"""A kind of field is told from the others in few files, and all else asks their tables."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

import bcl_keras
from bcl_keras.kinds import KINDS, FieldKind
from serving.savedmodel.raw_fields import RAW_KINDS, RawField, encode_song
from tfx_pipeline.contract import SongField
from tfx_pipeline.contract.columns import Place
from tfx_pipeline.contract.kinds import ARROW_KINDS, clean
from tfx_pipeline.contract.schemas import songs_schema
from tfx_pipeline.models.features import song_schema

ROOT = Path(__file__).parents[3]
PACKAGES = ("bcl_keras", "serving", "tfx_pipeline")
NAMES = {"category", "multi_category", "number", "vector"}
#: A kind that no table has, laid out as one of theirs.
FIFTH: FieldKind = "fifth"  # type: ignore[assignment]


def names_outside_calls(node: ast.AST) -> Iterator[str]:
    """Yields the kinds that code names. The argument of a call declares a field and tells no kinds apart."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Constant) and child.value in NAMES and not isinstance(node, ast.Call | ast.keyword):
            yield child.value
        yield from names_outside_calls(child)


def compares_a_kind(tree: ast.AST) -> bool:
    comparisons = (node for node in ast.walk(tree) if isinstance(node, ast.Compare))
    return any("kind" in ast.unparse(node.left) and set(names_outside_calls(node)) for node in comparisons)


def tells_kinds_apart(source: str) -> bool:
    tree = ast.parse(source)
    return len(set(names_outside_calls(tree))) > 1 or compares_a_kind(tree)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('x = 1 if field.kind == "vector" else 2', True),
        ('is_words = kind in ("category", "multi_category")', True),
        ('shape = {"vector": 2, "number": 1}[of]', True),
        ('if rank == 1:\n    found = "category"\nelse:\n    found = "multi_category"', True),
        ('fields = [Field("a", "category", 3), Field("b", kind="number")]', False),
        ('part = "vector" if plays else "none"', False),
        ('def f():\n    """`"category"` or `"number"`."""', False),
    ],
)
def test_what_counts(source: str, expected: bool) -> None:
    assert tells_kinds_apart(source) == expected


def test_a_fifth_kind_touches_at_most_five_files() -> None:
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    found = [str(file.relative_to(ROOT)) for file in files if tells_kinds_apart(file.read_text(encoding="utf-8"))]
    tables = ["bcl_keras/kinds.py", "serving/savedmodel/raw_fields.py", "tfx_pipeline/contract/kinds.py"]
    assert set(tables) <= set(found)
    assert len(found) <= 5, found


def test_the_tables_have_the_same_kinds() -> None:
    assert set(KINDS) == set(ARROW_KINDS) == set(RAW_KINDS) == NAMES
    for name, kind in KINDS.items():
        arrow, raw = ARROW_KINDS[name], RAW_KINDS[name]
        assert (kind.is_categorical, kind.is_list, kind.is_sized) == (arrow.is_categorical, arrow.is_list, raw.is_sized)
        assert (raw.dtype == tf.string, raw.is_list, raw.is_sized) == (
            arrow.is_categorical,
            arrow.is_list,
            arrow.is_sized,
        )


@pytest.fixture(params=sorted(NAMES))
def like(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FieldKind:
    """Adds a fifth kind to the tables, and to nothing else; returns the kind that it is laid out as."""
    kind: FieldKind = request.param
    monkeypatch.setitem(KINDS, FIFTH, KINDS[kind])
    monkeypatch.setitem(ARROW_KINDS, FIFTH, ARROW_KINDS[kind])
    monkeypatch.setitem(RAW_KINDS, FIFTH, RAW_KINDS[kind])
    return kind


COLUMNS = {
    "category": pa.array(["rock", "", "pop"]),
    "multi_category": pa.array([["rock", "pop"], [], ["pop"]]),
    "number": pa.array([1.5, None, 2.0]),
    "vector": pa.array([[1.0, 2.0], None, [3.0, 4.0]]),
}
VALUES = {
    "category": np.array([1, 0, 2]),
    "multi_category": np.array([[1, 2], [0, 0], [2, 0]]),
    "number": np.array([1.5, np.nan, 2.0]),
    "vector": np.array([[1.0, 2.0], [np.nan, np.nan], [3.0, 4.0]]),
}


def test_a_fifth_kind_passes_the_contract_and_comes_to_the_server(like: FieldKind) -> None:
    length = 2 if like == "vector" else 1
    fields = [SongField("audio_x", kind, length) for kind in (FIFTH, like)]
    columns = [clean(field.kind, COLUMNS[like], Place("songs.parquet", "audio_x")) for field in fields]
    assert columns[0].equals(columns[1]) and columns[0].null_count == 1
    assert songs_schema(fields[:1], ()) == songs_schema(fields[1:], ())
    (fifth, same) = (next(f for f in song_schema([field]).feature if f.name == "audio_x") for field in fields)
    assert fifth == same
    assert fifth.type == (schema_pb2.BYTES if "category" in like else schema_pb2.FLOAT)
    raw = [RawField("audio_x", kind, length) for kind in (FIFTH, like)]
    songs = [{"audio_x": value} for value in columns[0].to_pylist()]
    examples = [encode_song(song, raw[:1]) for song in songs]
    assert examples == [encode_song(song, raw[1:]) for song in songs]
    assert raw[0].tensor_spec() == raw[1].tensor_spec()
    parsed = tf.io.parse_example(examples, {"audio_x": tf.io.VarLenFeature(raw[0].dtype)})["audio_x"]
    named = raw[0].to_sparse(tf.constant(raw[0].to_array([song["audio_x"] for song in songs])))
    np.testing.assert_array_equal(parsed.values, named.values)
    np.testing.assert_array_equal(parsed.indices[:, 0], named.indices[:, 0])


def test_a_fifth_kind_is_learnt_from(like: FieldKind) -> None:
    size = {"number": 1, "vector": 2}.get(like, 3)
    fields = [bcl_keras.Field("audio_x", kind, size) for kind in (FIFTH, like)]
    features = {"audio_x": VALUES[like]}
    vectors = []
    for field in fields:
        content = bcl_keras.layers.ContentVector([field])
        content.adapt(features)
        encoder = bcl_keras.layers.FieldEncoder(field, dim=4)
        encoder.build(None)
        rng = np.random.default_rng(0)
        encoder.set_weights([rng.normal(size=weight.shape) for weight in encoder.get_weights()])
        model = bcl_keras.models.BCLModel([field, bcl_keras.Field("audio_y", "number")], num_songs=3)
        both = {**features, "audio_y": np.zeros(3)}
        model.set_catalogue(both)
        assert np.isfinite(model.predict(both, verbose=0)).all()
        vectors.append((np.asarray(content(features)), np.asarray(encoder(features["audio_x"]))))
    np.testing.assert_array_equal(vectors[0][0], vectors[1][0])
    np.testing.assert_array_equal(vectors[0][1], vectors[1][1])
