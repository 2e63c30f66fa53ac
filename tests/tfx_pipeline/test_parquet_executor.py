"""Parquet to tf.Example: zeros stay, nulls are missing."""

import pyarrow as pa
import pytest
import tensorflow as tf

from tfx_pipeline.components.parquet_executor import to_examples


def features_of(column: pa.Array) -> list:
    examples = [tf.train.Example.FromString(example) for example in to_examples(pa.table({"x": column}))]
    kinds = [example.features.feature["x"] for example in examples]
    return [list(getattr(kind, kind.WhichOneof("kind")).value) if kind.WhichOneof("kind") else [] for kind in kinds]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([0.0, None, 1.5]), [[0.0], [], [1.5]]),
        (pa.array([0, 7, None]), [[0], [7], []]),
        (pa.array([False, True, None]), [[0], [1], []]),
        (pa.array(["", None, "é"]), [[b""], [], ["é".encode()]]),
        (pa.array([["a", "b"], [], None]), [[b"a", b"b"], [], []]),
        (pa.array([[0.0, 1.0], None], pa.list_(pa.float64())), [[0.0, 1.0], []]),
        (pa.array(["a", None], pa.large_string()), [[b"a"], []]),
    ],
)
def test_values_and_gaps(column, expected):
    assert features_of(column) == expected


def test_a_sliced_table_gives_its_own_rows():
    table = pa.table({"x": pa.array(["a", None, "b", "c"])}).slice(1, 2)
    assert len(list(to_examples(table))) == 2
    assert features_of(pa.array(["a", None, "b", "c"]).slice(1, 2)) == [[], [b"b"]]


def test_null_is_a_missing_feature_for_statistics():
    table = pa.table({"x": pa.array([1.0, None, None, 2.0]), "y": pa.array(["a", None, "", "b"])})
    kinds = [tf.train.Example.FromString(example).features.feature for example in to_examples(table)]
    assert [bool(feature["x"].WhichOneof("kind")) for feature in kinds] == [True, False, False, True]
    assert [bool(feature["y"].WhichOneof("kind")) for feature in kinds] == [True, False, True, True]
