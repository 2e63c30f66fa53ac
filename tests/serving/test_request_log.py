"""The request log: what was sent is in it, whole files alone are whole, and no request ever waits for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import small_model
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.client import Backoff, Client, ServingError
from serving.protocol.tensors import from_proto, to_proto
from serving.savedmodel.warmup_requests import REQUESTS_FILE
from serving.server import EmbeddedServer, RequestError
from serving.server.flags import parse_flags
from serving.server.metrics import Metrics
from serving.server.request_log.files import LogFiles, Rotation, log_files
from serving.server.request_log.log import RequestLog
from serving.server.request_log.settings import LogSettings
from tests.serving.test_server_operation import ask
from tests.waiting import LAST_RESORT, eventually

ONCE = Backoff(attempts=1)
SONG = {"attribute_genre": "jazz", "attribute_tags": ["żywa muzyka", "🎷"], "audio_tempo": 122.5}


def serve(base: Path, **settings: Any) -> EmbeddedServer:
    return EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(base), **settings)


def read(*paths: Path | str) -> list[Any]:
    """The logs in whole files, by TensorFlow's own reader."""
    records = tf.data.TFRecordDataset([str(path) for path in paths]).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in records]


def logs(prefix: Path) -> list[Any]:
    paths = log_files(str(prefix))
    assert all(path.endswith(".tfrecord") for path in paths), "a file is not whole"
    return read(*paths)


def counted(server: EmbeddedServer, outcome: str) -> int:
    return int(server.metrics.request_log.labels("bcl", outcome)._value.get())


# ---- What is logged.


def same(one: Any, other: Any) -> bool:
    """Whether two messages are equal, NaN with NaN."""
    return bool(one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True))


def examples(*tempos: float) -> Any:
    found = classification_pb2.ClassificationRequest().input
    for tempo in tempos:
        found.example_list.examples.add().features.feature["audio_tempo"].float_list.value.append(tempo)
    return found


def test_every_kind_of_request_is_logged_as_it_was_sent_and_answered(base: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "a b" / "bcl"
    predict = predict_pb2.PredictRequest(output_filter=["y"])
    predict.model_spec.name, predict.model_spec.signature_name = "bcl", "dense"
    to_proto(np.array([[1, 2], [np.nan, -0.0]], np.float32), predict.inputs["x"])
    classify = classification_pb2.ClassificationRequest(input=examples(1.0))
    classify.model_spec.name, classify.model_spec.signature_name = "bcl", "classify"
    regress = regression_pb2.RegressionRequest(input=examples(1.0, 2.5))
    regress.model_spec.name, regress.model_spec.signature_name = "bcl", "regress"
    multiple = inference_pb2.MultiInferenceRequest(input=examples(3.0))
    for signature in ("classify", "regress"):
        task = multiple.tasks.add(method_name=f"tensorflow/serving/{signature}")
        task.model_spec.name, task.model_spec.signature_name = "bcl", signature
    with serve(base, request_log_prefix=str(prefix)) as server, grpc.insecure_channel(server.target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        calls: list[tuple[Any, Any]] = [(stub.Predict, predict), (stub.Classify, classify)]
        calls += [(stub.Regress, regress), (stub.MultiInference, multiple)]
        replies = [
            call(request, timeout=LAST_RESORT, metadata=[("x-request-id", f"of-{number}")])
            for number, (call, request) in enumerate(calls)
        ]
    found = logs(prefix)
    kinds = ["predict_log", "classify_log", "regress_log", "multi_inference_log"]
    assert [log.WhichOneof("log_type") for log in found] == kinds
    for number, (log, kind, (_, request)) in enumerate(zip(found, kinds, calls, strict=True)):
        assert same(getattr(log, kind).request, request)
        assert same(getattr(log, kind).response, replies[number])
        metadata = log.log_metadata
        assert (metadata.model_spec.name, metadata.model_spec.version.value) == ("bcl", 1)
        assert (metadata.request_origin, metadata.sampling_config.sampling_rate) == (f"of-{number}", 1.0)
        assert metadata.timestamp_secs > 1_700_000_000
    assert [log.log_metadata.model_spec.signature_name for log in found[:3]] == ["dense", "classify", "regress"]


def test_a_request_over_rest_is_logged_as_that_over_grpc(base: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "bcl"
    with serve(base, request_log_prefix=str(prefix)) as server:
        body = json.dumps({"signature_name": "match", "instances": [{**SONG, "k": 2}]}).encode()
        status, text, headers = ask(server.rest_port, "/v1/models/bcl:predict", body)
        assert status == 200
        example = b'{"signature_name": "regress", "examples": [{"audio_tempo": 7.5}]}'
        assert ask(server.rest_port, "/v1/models/bcl:regress", example)[0] == 200
        assert ask(server.rest_port, "/v1/models/bcl")[0] == 200
        assert ask(server.rest_port, "/v1/models/bcl:predict", b"{}")[0] == 400
        with Client(server.target, backoff=ONCE) as client:
            client.match([SONG], k=2)
            with pytest.raises(ServingError):
                client.predict({"rows": [99]}, "gather")
    rest, regress, remote = logs(prefix)
    assert regress.regress_log.request.input.example_list.examples[0].features.feature["audio_tempo"]
    assert rest.log_metadata.request_origin == headers["X-Request-Id"]
    sent = [
        {name: from_proto(value).tolist() for name, value in log.predict_log.request.inputs.items()}
        for log in (rest, remote)
    ]
    assert set(sent[0]["attribute_tags"][0]) - {b""} == {"żywa muzyka".encode(), "🎷".encode()}
    assert str(sent[0]) == str(sent[1])  # NaN is not NaN
    ids = from_proto(rest.predict_log.response.outputs["song_ids"])[0].tolist()
    assert ids == [name.encode() for name in json.loads(text)["predictions"][0]["song_ids"]]


def test_none_some_and_all_requests_are_sampled(base: Path, tmp_path: Path) -> None:
    for rate, least, most in ((0.0, 0, 0), (0.5, 1, 59), (1.0, 60, 60)):
        prefix = tmp_path / str(rate) / "bcl"
        settings = {"request_log_prefix": str(prefix), "request_log_sample": rate}
        with serve(base, **settings) as server, Client(server.target) as client:
            for _ in range(60):
                client.predict({"rows": [1]}, "gather")
        assert least <= len(logs(prefix)) <= most  # all or none of 60 at .5: once in 10^17


# ---- Models and their configuration.


def config_file(path: Path, base: Path, logging_config: str) -> str:
    model = f'name: "bcl" base_path: "{base}" model_platform: "tensorflow" {logging_config}'
    path.write_text(f"model_config_list {{ config {{ {model} }} }}")
    return str(path)


def collector(prefix: Path, rate: float = 1, kind: str = "") -> str:
    collector = f'log_collector_config {{ type: "{kind}" filename_prefix: "{prefix}" }}'
    return f"logging_config {{ {collector} sampling_config {{ sampling_rate: {rate} }} }}"


def test_the_configuration_file_says_which_models_are_logged_and_clients_cannot(base: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "logs" / "bcl"
    path = config_file(tmp_path / "models.config", base, collector(prefix, kind="tfrecord"))
    with (
        EmbeddedServer(port=0, model_config_file=path, allow_reload=True) as server,
        Client(server.target, backoff=ONCE) as client,
        grpc.insecure_channel(server.target) as channel,
    ):
        reload = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
        request = model_management_pb2.ReloadConfigRequest()
        model = request.config.model_config_list.config.add(
            name="bcl", base_path=str(base), model_platform="tensorflow"
        )
        client.predict({"rows": [1]}, "gather")
        model.logging_config.log_collector_config.filename_prefix = str(tmp_path / "elsewhere" / "x")
        with pytest.raises(grpc.RpcError) as caught:
            reload(request)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert "expected it in --model_config_file alone" in caught.value.details()
        assert not (tmp_path / "elsewhere").exists()
        client.predict({"rows": [2]}, "gather")
        model.ClearField("logging_config")
        reload(request)
        client.predict({"rows": [3]}, "gather")
    rows = [from_proto(log.predict_log.request.inputs["rows"]).tolist() for log in logs(prefix)]
    assert rows == [[1], [2]]


@pytest.mark.parametrize(
    ("logging_config", "message"),
    [
        (
            'logging_config { log_collector_config { type: "kafka" } }',
            "NOT_FOUND: Cannot find LogCollector::Factory for",
        ),
        ('logging_config { log_collector_config { filename_prefix: "logs/x" } }', "expected an absolute path"),
        ("logging_config { sampling_config { sampling_rate: 1 } }", "`log_collector_config.filename_prefix`: expected"),
        (collector(Path("/tmp/x"), rate=1.5), r"sampling_rate`: expected a number from 0 to 1. Received: 1.5"),
    ],
)
def test_a_configuration_that_cannot_be_used_ends_the_start(
    base: Path, tmp_path: Path, logging_config: str, message: str
) -> None:
    server = EmbeddedServer(port=0, model_config_file=config_file(tmp_path / "m", base, logging_config))
    with pytest.raises(RequestError, match=message):
        server.start(timeout=LAST_RESORT)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--request_log_prefix=logs/bcl"], "`request_log_prefix`: expected an absolute path and the start of a name"),
        (["--request_log_prefix=/logs/"], "Received: '/logs/'"),
        (["--request_log_prefix=/l/x", "--model_config_file=/m"], "Received: both flags"),
        (["--request_log_max_bytes=2048"], "must be 0, or at least --request_log_file_bytes, which is 67108864"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_flags(["--model_base_path=/m", *flags])


def test_a_log_that_cannot_be_written_ends_the_start(base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    server = serve(base, request_log_prefix=str(tmp_path / "file" / "bcl"))
    with pytest.raises(RequestError, match=r"INVALID_ARGUMENT: request log of model bcl: cannot be written: .*file"):
        server.start(timeout=LAST_RESORT)


# ---- Files.


def test_files_are_rotated_sorted_by_time_and_bounded(tmp_path: Path) -> None:
    prefix = str(tmp_path / "songs")
    (tmp_path / "songs-notes.tfrecord").write_text("not ours")
    files = LogFiles(prefix, Rotation(file_bytes=1000, max_bytes=3000))
    assert not files.write(bytes(2000))
    for number in range(20):
        assert files.write(bytes([number]) * 400)
        names = os.listdir(tmp_path)
        assert sum(name.endswith(".part") for name in names) == 1
        assert sum((tmp_path / name).stat().st_size for name in names if ".part" not in name) <= 3000
    files.finish()
    found = log_files(prefix)
    assert [os.stat(path).st_size for path in found] == [2 * 416] * 3
    kept = [record[0] for record in tf.data.TFRecordDataset(found).as_numpy_iterator()]
    assert kept == [14, 15, 16, 17, 18, 19]
    assert all(os.stat(path).st_mode & 0o007 == 0 for path in found)
    assert (tmp_path / "songs-notes.tfrecord").exists()


def test_a_file_is_whole_when_its_time_is_over(tmp_path: Path) -> None:
    files = LogFiles(str(tmp_path / "x"), Rotation(file_seconds=0.0))
    files.write(b"one")
    (name,) = os.listdir(tmp_path)
    assert name.endswith(".tfrecord.part")
    files.flush()
    assert os.listdir(tmp_path) == [name.removesuffix(".part")]


def test_a_file_that_another_process_writes_is_never_removed(tmp_path: Path) -> None:
    rotation = Rotation(file_bytes=100, max_bytes=100)
    first, second = (LogFiles(str(tmp_path / "x"), rotation) for _ in range(2))
    first.write(b"held")
    second.write(b"more")
    second.finish()
    assert sum(path.endswith(".part") for path in log_files(str(tmp_path / "x"))) == 1
    first.abandon()  # as if its process had been killed
    second.write(b"most")
    second.finish()
    assert len(log_files(str(tmp_path / "x"))) == 1


def test_what_a_full_queue_or_a_broken_disk_loses_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, writing = threading.Event(), threading.Event()

    def write(self: LogFiles, record: bytes) -> bool:
        writing.set()
        held.wait()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LogFiles, "write", write)
    metrics = Metrics()
    log = RequestLog(metrics, Rotation(), queue_bytes=1000)
    log.update({"m": LogSettings(str(tmp_path / "x"), 1.0)})
    request, reply = predict_pb2.PredictRequest(), predict_pb2.PredictResponse()
    request.model_spec.name = reply.model_spec.name = "m"
    request.inputs["x"].tensor_content = bytes(400)

    def dropped() -> float:
        return float(metrics.request_log.labels("m", "dropped")._value.get())

    log.record(request, reply)
    assert writing.wait(LAST_RESORT)
    for number in range(5):  # the writer hangs: one more fits into the queue
        log.record(request, reply)
        assert dropped() == number
    held.set()
    assert eventually(lambda: dropped() == 6)
    log.stop()
    log.record(request, reply)
    assert dropped() == 7
    assert 'serving_request_log_records_total{model_name="m",outcome="dropped"} 7\n' in metrics.render()


@pytest.mark.slow
def test_a_killed_server_leaves_whole_files_and_whole_records(base: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "bcl"
    arguments = ["--port=0", "--model_name=bcl", f"--model_base_path={base}", f"--request_log_prefix={prefix}"]
    command = [sys.executable, "-m", "serving.server", *arguments, "--request_log_file_bytes=1024"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip().rsplit(":", 1)[1]
            with Client(f"127.0.0.1:{port}") as client:
                for number in range(20):
                    client.predict({"rows": [number % 5]}, "gather")
            # The writer hands every record to the system within a fraction of a second.
            assert eventually(lambda: _records(prefix) == 20)
        finally:
            process.send_signal(signal.SIGKILL)
    *whole, last = log_files(str(prefix))
    assert len(whole) >= 2 and last.endswith(".part") and not any(path.endswith(".part") for path in whole)
    rows = [from_proto(log.predict_log.request.inputs["rows"]).tolist()[0] for log in read(*whole, last)]
    assert rows == [number % 5 for number in range(20)]


def _records(prefix: Path) -> int:
    try:
        return len(read(*log_files(str(prefix))))
    except (tf.errors.DataLossError, tf.errors.NotFoundError):  # read while it was written or renamed
        return -1


# ---- Replay.


def test_a_log_is_a_warm_up_file_as_it_is(base: Path, saved_model: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "bcl"
    with serve(base, request_log_prefix=str(prefix)) as server, Client(server.target) as client:
        client.embed([SONG, {}])
        client.predict({"x": np.ones((2, 2), np.float32)}, "dense")
    version = small_model.publish(saved_model, tmp_path / "warm", 1)
    (version / REQUESTS_FILE).parent.mkdir()
    (path,) = log_files(str(prefix))
    (version / REQUESTS_FILE).write_bytes(Path(path).read_bytes())
    with serve(tmp_path / "warm", num_request_iterations_for_warmup=2) as server:
        assert ":tensorflow:serving:model_warmup_latency_count" in server.metrics.render()
        assert not counted(server, "written")
