"""`python -m serving.request_log`: a log becomes warm-up requests, or a table that joins with plays."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_model
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, regression_pb2

from serving.client import Client
from serving.protocol.tensors import to_proto
from serving.request_log.__main__ import main
from serving.request_log.rows import rows_of
from serving.savedmodel.warmup_requests import REQUESTS_FILE
from serving.server import EmbeddedServer
from serving.server.request_log.files import log_files
from serving.server.request_log.records import prediction_log

ROOT = Path(__file__).parents[2]
SONGS: list[dict[str, Any]] = [
    {"attribute_genre": "jazz", "attribute_tags": ["żywa", "🎷", 'a "b", c'], "audio_tempo": 122.3},
    {"lyric_vector": [0.5, 0.25, -1.0]},
    {},
]


@pytest.fixture(scope="module")
def log(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A log of a server: a match of three songs twice, and an embedding."""
    folder = tmp_path_factory.mktemp("command")
    small_model.publish(saved_model, folder / "bcl", 7)
    settings: dict[str, Any] = {"model_base_path": str(folder / "bcl"), "request_log_prefix": str(folder / "songs")}
    with EmbeddedServer(port=0, model_name="bcl", **settings) as server, Client(server.target) as client:
        for _ in range(2):
            client.match(SONGS, k=2, exclude=["s4", None, "s1"])
        client.embed(SONGS[:1])
    (path,) = log_files(str(folder / "songs"))
    return path


def records(path: Path | str) -> list[Any]:
    found = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in found]


def write(path: Path, *logs: Any) -> str:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    return str(path)


def test_the_first_different_requests_warm_up_the_next_version(log: str, saved_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "tf_serving_warmup_requests"
    assert main(["warmup", log, "--out", str(out)]) == 0
    signatures = [found.predict_log.request.model_spec.signature_name for found in records(out)]
    assert signatures == ["match", "embed"]
    assert [found.predict_log.request.inputs for found in records(out)] == [
        found.predict_log.request.inputs for found in records(log)[1:]
    ]
    assert not any(found.HasField("log_metadata") or found.predict_log.HasField("response") for found in records(out))
    version = small_model.publish(saved_model, tmp_path / "bcl", 1)
    (version / REQUESTS_FILE).parent.mkdir()
    out.rename(version / REQUESTS_FILE)
    with EmbeddedServer(port=0, model_name="other", model_base_path=str(tmp_path / "bcl")) as server:
        assert 'model_warmup_latency_count{model_path="other/1",status="OK"} 1' in server.metrics.render()


def test_count_and_model_choose_requests(log: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert main(["warmup", log, "--out", str(out), "--count", "1"]) == 0
    assert len(records(out)) == 1
    assert main(["warmup", log, "--out", str(out), "--model", "other"]) == 2
    assert len(records(out)) == 1  # what was there stays
    assert capsys.readouterr().err == "expected a log with a request. Received: none\n"
    assert main(["warmup", log, "--out", str(out), "--count", "1001"]) == 2
    assert "--count: expected a number from 1 to 1000. Received: 1001" in capsys.readouterr().err


def test_the_table_has_a_row_for_each_song_and_its_matches(log: str, tmp_path: Path) -> None:
    out = tmp_path / "asked.parquet"
    assert main(["table", log, "--out", str(out)]) == 0
    table = pq.read_table(out)
    assert table.schema.field("time").type == pa.timestamp("ms", tz="UTC")
    rows = table.to_pylist()
    assert [row["row"] for row in rows] == [0, 1, 2, 0, 1, 2, 0]
    assert {(row["model"], row["version"]) for row in rows} == {("bcl", 7)}
    assert [row["signature"] for row in rows] == ["match"] * 6 + ["embed"]
    assert len({row["request_id"] for row in rows}) == 3
    assert [row["song_id"] for row in rows[:3]] == ["s4", None, "s1"]
    assert [json.loads(row["song"]) for row in rows[:3]] == SONGS
    embedded = small_model.embedding(SONGS) @ small_model.INDEX.T
    for row, scores, excluded in zip(rows[:3], embedded, (3, None, 0), strict=True):
        allowed = [place for place in range(5) if place != excluded]
        best = sorted(allowed, key=lambda place: (-scores[place], place))[:2]
        assert row["match_ids"] == [small_model.INDEX_IDS[place] for place in best]
        np.testing.assert_allclose(row["match_scores"], scores[best], rtol=1e-6)
    assert rows[6]["match_ids"] is None and rows[6]["match_scores"] is None


def test_csv_has_the_same(log: str, tmp_path: Path) -> None:
    for name in ("asked.csv", "asked.parquet"):
        assert main(["table", log, "--out", str(tmp_path / name)]) == 0
    with (tmp_path / "asked.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    for row, of_csv in zip(pq.read_table(tmp_path / "asked.parquet").to_pylist(), cells, strict=True):
        assert of_csv["song"] == row["song"] and of_csv["song_id"] == (row["song_id"] or "")
        assert of_csv["time"] == row["time"].isoformat()
        assert json.loads(of_csv["match_ids"] or "null") == row["match_ids"]
    assert main(["table", log, "--out", str(tmp_path / "asked.xlsx")]) == 2


def examples_log(example: Any) -> Any:
    request, reply = regression_pb2.RegressionRequest(), regression_pb2.RegressionResponse()
    both = request.input.example_list_with_context
    both.context.features.feature["attribute_genre"].bytes_list.value.append(b"rock")
    both.examples.extend([example, tf.train.Example()])
    reply.model_spec.name = "m"
    return prediction_log(request, reply, 1.0, "")


def test_songs_as_examples_integer_ids_and_blank_places() -> None:
    example = tf.train.Example()
    example.features.feature["song_id"].bytes_list.value.append("Ω1".encode())
    example.features.feature["audio_timbre"].float_list.value.extend([1.5, float("inf")])
    example.features.feature["attribute_tags"].bytes_list.value.extend([b"a", b"\xff"])
    first, second = rows_of(examples_log(example))
    assert first.song_id == "Ω1" and second.song_id is None
    assert json.loads(first.song) == {"attribute_genre": "rock", "attribute_tags": ["a", "\ufffd"]}
    assert json.loads(second.song) == {"attribute_genre": "rock"}
    request, reply = predict_pb2.PredictRequest(), predict_pb2.PredictResponse()
    to_proto([example.SerializeToString(), b""], request.inputs["examples"])
    to_proto(np.array([10, 20]), request.inputs["k"])
    to_proto(np.array([-1, 5]), request.inputs["exclude"])
    to_proto(np.array([[3, -1], [-1, -1]]), reply.outputs["song_ids"])
    one, two = rows_of(prediction_log(request, reply, 1.0, ""))
    assert (one.song_id, one.match_ids, one.match_scores) == ("Ω1", ["3"], None)
    assert (two.song_id, two.song, two.match_ids) == ("5", "{}", [])
    assert not list(rows_of(prediction_log(predict_pb2.PredictRequest(), reply, 1.0, "")))


def test_files_are_read_by_time_and_a_part_as_far_as_it_is_whole(log: str, tmp_path: Path, capsys: Any) -> None:
    early, late = records(log)[2], records(log)[0]
    first = write(tmp_path / "x-20260101T000000.000000Z-9.tfrecord", early)
    torn = Path(write(tmp_path / "x-20260102T000000.000000Z-1.tfrecord.part", late, late))
    torn.write_bytes(torn.read_bytes()[:-7])
    out = tmp_path / "asked.parquet"
    assert main(["table", str(torn), first, "--out", str(out)]) == 0
    assert pq.read_table(out)["signature"].to_pylist() == ["embed", "match", "match", "match"]
    assert capsys.readouterr().err == f"note: {torn}: not ended, read 1 whole records\n"
    whole = torn.rename(tmp_path / "x-20260102T000000.000000Z-1.tfrecord")
    assert main(["table", str(whole), "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"{whole}: expected whole records. Received: 1, and then ")


@pytest.mark.parametrize("content", ["text", None, "folder", "other records"])
def test_what_is_no_log_is_refused(content: str | None, tmp_path: Path, capsys: Any) -> None:
    path, out = tmp_path / "log", tmp_path / "out.csv"
    if content == "text":
        path.write_text("no records, but some lines of text")
    elif content == "folder":
        path.mkdir()
    elif content is not None:
        write(path, tf.train.Example(features=tf.train.Features()))
    assert main(["table", str(path), "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert message.startswith(str(path)) and ": expected " in message and message.count("\n") == 1
    assert not out.exists() and not list(tmp_path.glob(".*"))


def test_the_join_in_the_documents_works(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    page = (ROOT / "docs" / "how-to" / "log-requests.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert main(["table", log, "--out", str(tmp_path / "asked.parquet")]) == 0
    times = pa.array([4102444800, 0, 4102444800, 4102444800], pa.int64()).cast(pa.timestamp("s", tz="UTC"))
    plays = {"user_id": ["u1", "u2", "u3", "u4"], "song_id": ["s4", "s4", "s1", "elsewhere"], "timestamp": times}
    pq.write_table(pa.table(plays), tmp_path / "plays.parquet")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(block, "log-requests.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"^7 +s1 +1$", printed, re.MULTILINE)
    assert re.search(r"^ +s4 +1$", printed, re.MULTILINE)
    assert "u2" not in printed and "elsewhere" not in printed
