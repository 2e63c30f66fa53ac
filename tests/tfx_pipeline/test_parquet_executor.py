"""Parquet to tf.Example: zeros stay, nulls are missing."""

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from tfx_pipeline.runtime.beam_options import IN_MEMORY
from tfx_pipeline.tfx_extensions.example_files import ReadPlays
from tfx_pipeline.tfx_extensions.parquet_executor import Executor, row_groups, to_examples


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


def written(folder, table: pa.Table, rows: int, output: str = "{}") -> standard_artifacts.Examples:
    """Runs the executor on a file of row groups of `rows`."""
    (folder / "plays").mkdir()
    pq.write_table(table, folder / "plays" / "plays.parquet", row_group_size=rows)
    examples = standard_artifacts.Examples()
    examples.uri = str(folder / "examples")
    given = {
        "input_base": str(folder / "plays"),
        "input_config": '{"splits": [{"name": "all", "pattern": "plays.parquet"}]}',
        "output_config": output,
        "output_data_format": example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE,
    }
    context = Executor.Context(beam_pipeline_args=list(IN_MEMORY), tmp_dir=str(folder), unique_id="1")
    Executor(context).Do({}, {"examples": [examples]}, given)
    return examples


def test_each_row_group_is_a_file_and_read_again_in_columns(tmp_path):
    table = pa.table({"user_id": [f"u{row}" for row in range(25)], "song_id": ["a"] * 25, "plays": list(range(25))})
    examples = written(tmp_path, table, rows=10)
    folder = tmp_path / "examples" / "Split-all"
    assert sorted(file.name for file in folder.iterdir()) == [f"plays-0000{group}.gz" for group in range(3)]
    assert examples.split_names == '["all"]'
    assert examples.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        rows = (
            pipeline
            | ReadPlays(str(folder / "*.gz"))
            | beam.FlatMap(lambda batch: zip(*(column.flatten().to_pylist() for column in batch.columns), strict=True))
        )
        names = sorted(table.column_names)
        wanted = zip(
            *([v.encode() if name != "plays" else v for v in table[name].to_pylist()] for name in names), strict=True
        )
        assert_that(rows, equal_to([tuple(row) for row in wanted]))


def test_what_it_cannot_do_is_refused(tmp_path):
    table = pa.table({"user_id": ["u"]})
    with pytest.raises(ValueError, match=r"`output_config` must leave the input's splits as they are. Received: split"):
        written(tmp_path, table, rows=1, output='{"splitConfig": {"splits": [{"name": "a", "hashBuckets": 1}]}}')
    with pytest.raises(FileNotFoundError, match=r"expected a Parquet file. Received: none at .*plays.parquet"):
        row_groups(str(tmp_path / "nowhere" / "plays.parquet"))
