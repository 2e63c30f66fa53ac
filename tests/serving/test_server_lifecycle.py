"""Versions: policies, labels, hot reload, broken versions, warm-up, reload of the configuration."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import small_model
import tensorflow as tf
from fuzz import predict_request
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc, prediction_log_pb2
from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

from serving.client import Client, ServingError
from serving.savedmodel.versions import Policy, parse_version, scan
from serving.server import EmbeddedServer, RequestError
from serving.server.models import manager
from serving.server.models.config import Roots, check_transition
from tests.waiting import LAST_RESORT, eventually

pytestmark = pytest.mark.slow  # a server and its versions for nearly every test

POLL = 0.05


def serve(base: Path, **settings: Any) -> EmbeddedServer:
    options = {"file_system_poll_wait_seconds": POLL, "max_num_load_retries": 0, "allow_reload": True, **settings}
    return EmbeddedServer(port=0, model_name="bcl", model_base_path=str(base), **options)


def states(server: EmbeddedServer) -> dict[int, str]:
    with Client(server.target) as client:
        return {status.version: status.state for status in client.status()}


@pytest.fixture
def look_again(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Waits until a server has looked at its folder a few more times."""
    looks: list[str] = []

    def counted(path: str, duplicates: list[str]) -> dict[int, str]:
        looks.append(path)
        return scan(path, duplicates)

    monkeypatch.setattr(manager, "scan", counted)

    def wait() -> None:
        enough = len(looks) + 4
        assert eventually(lambda: len(looks) >= enough)

    return wait


@pytest.fixture
def base(tmp_path: Path, saved_model: Path) -> Path:
    small_model.publish(saved_model, tmp_path / "models" / "bcl", 1)
    return tmp_path / "models" / "bcl"


@pytest.mark.parametrize(
    ("name", "version"),
    [("1", 1), ("00000123", 123), ("1a", None), (".7.incoming", None), ("-1", None), (str(2**63), None), ("٣", None)],
)
def test_names_of_version_folders(name: str, version: int | None) -> None:
    assert parse_version(name) == version


def test_scan_ignores_files_and_takes_the_last_of_two_names(tmp_path: Path) -> None:
    for name in ("7", "007", "x", "12"):
        (tmp_path / name).mkdir()
    (tmp_path / "99").write_text("no folder")
    duplicates: list[str] = []
    assert scan(str(tmp_path), duplicates) == {7: str(tmp_path / "7"), 12: str(tmp_path / "12")}
    assert duplicates == [f"version 7 is loaded from {tmp_path / '7'}, not from {tmp_path / '007'}"]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", [9]),
        ("latest { num_versions: 2 }", [5, 9]),
        ("all {}", [1, 5, 9]),
        ("specific { versions: 1 versions: 5 versions: 77 }", [1, 5]),
    ],
)
def test_version_policies(text: str, chosen: list[int]) -> None:
    proto = file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy()
    policy = Policy.from_proto(text_format.Parse(text, proto))
    assert sorted(policy.select({1: "a", 5: "b", 9: "c"})) == chosen


def test_a_new_version_takes_over_without_a_gap(base: Path, doubled_model: Path) -> None:
    song = {"audio_tempo": 1.0}
    with serve(base) as server, Client(server.target) as client:
        answers: list[float] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                answers.append(float(client.embed(song)[0, 2]))

        asking = threading.Thread(target=ask)
        asking.start()
        small_model.publish(doubled_model, base, 2)
        assert eventually(lambda: states(server) == {2: "AVAILABLE", 1: "END"})
        last = float(client.embed(song)[0, 2])
        stop.set()
        asking.join()
        assert last == 2.0 and set(answers) <= {1.0, 2.0}
        # Once the new one has answered, the old one never does again.
        assert answers == sorted(answers)


def test_removing_all_versions_unloads_and_removing_the_folder_does_not(
    base: Path, saved_model: Path, look_again: Callable[[], None]
) -> None:
    with serve(base) as server, Client(server.target) as client:
        shutil.move(base, base.with_name("gone"))
        look_again()
        assert client.embed({}).shape == (1, 4)
        shutil.move(base.with_name("gone"), base)
        shutil.rmtree(base / "1")
        assert eventually(lambda: states(server) == {1: "END"})
        with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Latest\(bcl\)"):
            client.embed({})
        small_model.publish(saved_model, base, 1)
        assert eventually(lambda: states(server) == {1: "AVAILABLE"})
        assert client.embed({}).shape == (1, 4)


def _truncate_variables(folder: Path) -> None:
    (data,) = folder.glob("variables/variables.data*")
    data.write_bytes(data.read_bytes()[:10])


def _break_graph(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"\xff" * 100)


def _bad_warm_up(folder: Path) -> None:
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "nope"
    write_warm_up(folder, log)


def write_warm_up(folder: Path, *logs: Any) -> None:
    (folder / "assets.extra").mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for log in logs:
            writer.write(log.SerializeToString() if hasattr(log, "SerializeToString") else log)


BREAKS = {
    "truncated variables": (_truncate_variables, (11, 15)),
    "missing graph": (lambda folder: (folder / "saved_model.pb").unlink(), (5,)),
    "garbled graph": (_break_graph, (15,)),
    "missing variables": (lambda folder: shutil.rmtree(folder / "variables"), (3,)),
    "bad warm-up": (_bad_warm_up, (9,)),
}


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory, saved_model: Path) -> Iterator[tuple[EmbeddedServer, Path]]:
    base = tmp_path_factory.mktemp("steady") / "bcl"
    small_model.publish(saved_model, base, 1)
    with serve(base) as server:
        yield server, base


@pytest.mark.parametrize("number", range(len(BREAKS)), ids=list(BREAKS))
def test_a_broken_version_never_takes_over(
    steady: tuple[EmbeddedServer, Path], saved_model: Path, tmp_path: Path, number: int
) -> None:
    server, base = steady
    damage, codes = list(BREAKS.values())[number]
    broken = tmp_path / "broken"
    shutil.copytree(saved_model, broken)
    damage(broken)
    version = 10 + number
    small_model.publish(broken, base, version)
    with Client(server.target) as client:
        assert eventually(lambda: states(server).get(version) == "END")
        status = {s.version: s for s in client.status()}
        assert status[version].error_code in codes and status[version].error_message
        assert status[1].state == "AVAILABLE"
        assert client.embed({"audio_tempo": 1.0})[0, 2] == 1.0
    shutil.rmtree(base / str(version))


def test_a_failed_version_is_tried_again(base: Path, saved_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(saved_model, broken)
    (broken / "saved_model.pb").rename(broken / "aside")
    with (
        serve(base, max_num_load_retries=1000, load_retry_interval_micros=50_000) as server,
        Client(server.target) as client,
    ):
        small_model.publish(broken, base, 2)
        # While it is tried again, the status already has the reason.
        assert eventually(lambda: any(s.state == "LOADING" and s.error_code == 5 for s in client.status()))
        (base / "2" / "aside").rename(base / "2" / "saved_model.pb")
        assert eventually(lambda: states(server) == {2: "AVAILABLE", 1: "END"})
        assert client.status()[0].error_code == 0


def test_a_first_version_that_fails_ends_the_start(base: Path) -> None:
    _break_graph(base / "1")
    with pytest.raises(RequestError) as caught:
        serve(base).start()
    assert caught.value.code == grpc.StatusCode.UNKNOWN
    assert caught.value.message.startswith(
        "1 servable(s) did not become available: {{{name: bcl version: 1} due to error: DATA_LOSS: "
    )


def test_an_empty_folder_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    base = tmp_path / "bcl"
    base.mkdir()
    server = serve(base)
    with pytest.raises(TimeoutError, match=r"models \['bcl'\] were not available after 0.2 s"):
        server.start(timeout=0.2)


def test_a_problem_of_a_folder_is_logged_once(
    tmp_path: Path, saved_model: Path, caplog: Any, look_again: Callable[[], None]
) -> None:
    base = tmp_path / "bcl"
    base.mkdir()
    server = serve(base)
    with contextlib.ExitStack() as stack:
        stack.enter_context(caplog.at_level("WARNING", "serving.server"))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        stack.callback(server.stop)
        starting = pool.submit(server.start)
        look_again()
        empty = [record.getMessage() for record in caplog.records]
        assert empty == [
            f"No versions of servable bcl found under base path {base}. Did you forget to name your leaf directory as "
            "a number (eg. '/1/')?"
        ]
        # It still waits for a version.
        small_model.publish(saved_model, base, 5)
        assert states(starting.result()) == {5: "AVAILABLE"}
    caplog.clear()
    with serve(base), caplog.at_level("WARNING", "serving.server"):
        shutil.move(base, tmp_path / "gone")
        assert eventually(lambda: caplog.records)
        look_again()
        messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"Could not find base path {base} for servable bcl"]


def test_two_folders_of_one_version_give_one_warning(
    base: Path, saved_model: Path, caplog: Any, look_again: Callable[[], None]
) -> None:
    shutil.copytree(saved_model, base / "001")
    with caplog.at_level("WARNING", "serving.server"), serve(base) as server:
        look_again()
        assert states(server) == {1: "AVAILABLE"}
    assert [record.getMessage() for record in caplog.records] == [
        f"Duplicate version directories of servable bcl: version 1 is loaded from {base / '1'}, not from {base / '001'}"
    ]


def test_versions_outside_the_base_are_refused(base: Path, saved_model: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere" / "7"
    shutil.copytree(saved_model, outside)
    with serve(base) as server, Client(server.target) as client:
        (base / "7").symlink_to(outside)
        assert eventually(lambda: states(server).get(7) == "END")
        status = client.status()[0]
        assert status.error_code == grpc.StatusCode.PERMISSION_DENIED.value[0]
        assert "version 7 of model bcl must lie in a base path of the configuration" in status.error_message
        assert client.embed({}).shape == (1, 4)


def test_a_running_request_keeps_its_version(base: Path, doubled_model: Path) -> None:
    with serve(base) as server:
        with server.core.versions.lease("bcl", 1) as lent:
            small_model.publish(doubled_model, base, 2)
            assert eventually(lambda: states(server).get(1) == "UNLOADING")
            assert lent.servable.signatures
        assert eventually(lambda: states(server).get(1) == "END")
        assert lent.servable is None


def predict_log(**inputs: Any) -> Any:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "another name", "dense"
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log


def classify_log() -> Any:
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.model_spec.signature_name = "classify"
    log.classify_log.request.input.example_list.examples.add()
    return log


def regress_log() -> Any:
    log = prediction_log_pb2.PredictionLog()
    log.regress_log.request.model_spec.signature_name = "regress"
    log.regress_log.request.input.example_list.examples.add()
    return log


def session_log(folder: Path) -> Any:
    graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]
    log = prediction_log_pb2.PredictionLog()
    feed = log.session_run_log.request.feed.add(name="dense_x:0")
    log.session_run_log.request.fetch.append(graph.signature_def["dense"].outputs["y"].name)
    feed.tensor.CopyFrom(tf.make_tensor_proto(np.ones((1, 2), np.float32)))
    return log


X = np.ones((1, 2), np.float32)


def test_warm_up_is_replayed_before_a_version_serves(base: Path) -> None:
    write_warm_up(base / "1", predict_log(x=X), classify_log(), regress_log(), session_log(base / "1"))
    with serve(base) as server:
        (latency,) = [m for m in server.metrics.registry.collect() if m.name.endswith("model_warmup_latency")]
        counts = {s.labels["status"]: s.value for s in latency.samples if s.name.endswith("_count")}
        assert counts == {"OK": 1}
    _bad_warm_up(base / "1")
    with serve(base, enable_model_warmup=False) as server:
        assert states(server) == {1: "AVAILABLE"}


@pytest.mark.parametrize(
    ("logs", "code", "text"),
    [
        ([predict_log(x=X)] * 1001, "INVALID_ARGUMENT", r"Number of warmup records exceeds the maximum \(1000\) at "),
        ([b"\xff\xff\xff"], "INVALID_ARGUMENT", "Failed to parse warmup record: "),
        ([prediction_log_pb2.PredictionLog()], "UNIMPLEMENTED", "Unsupported log_type for warmup: None"),
        ([predict_log(x=X.astype(np.float64))], "INVALID_ARGUMENT", "Expects arg.0. to be float but double"),
    ],
    ids=["too many", "no log", "empty log", "refused"],
)
def test_warm_up_that_fails_fails_the_load(base: Path, logs: list[Any], code: str, text: str) -> None:
    write_warm_up(base / "1", *logs)
    with pytest.raises(RequestError, match=f"due to error: {code}: {text}"):
        serve(base).start()


def test_warm_up_that_is_no_tfrecord(base: Path) -> None:
    write_warm_up(base / "1")
    (base / "1" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"plain text, surely no record")
    with pytest.raises(RequestError, match=r"DATA_LOSS: .*Please verify your warmup data is in TFRecord format"):
        serve(base).start()


def reload_request(*models: tuple[str, Path], platform: str = "tensorflow", extra: str = "") -> Any:
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    for name, path in models:
        entry = request.config.model_config_list.config.add(name=name, base_path=str(path), model_platform=platform)
        text_format.Merge(extra, entry)
    return request


@pytest.fixture
def reloadable(base: Path, saved_model: Path) -> Iterator[tuple[EmbeddedServer, Any, Path]]:
    small_model.publish(saved_model, base.with_name("other"), 4)
    with (
        serve(base, model_roots=str(base.parent), rest_api_port=-1) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        yield server, model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest, base


def refusal(call: Callable[..., Any], request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code().name, caught.value.details()


def test_reload_replaces_the_models(reloadable: Any) -> None:
    server, call, base = reloadable
    request = reload_request(("other", base.with_name("other")))
    request.metric_names.append("/tensorflow/serving/request_count")
    reply = call(request)
    assert reply.status.error_code == 0
    assert [(m.name, m.int64_value_increase) for m in reply.metric] == [("/tensorflow/serving/request_count", 0)]
    with Client(server.target, model_name="other") as client:
        assert client.embed({}).shape == (1, 4)
    assert eventually(lambda: states(server) == {1: "END"})


def test_reload_refusals(reloadable: Any) -> None:
    _, call, base = reloadable
    other = base.with_name("other")
    assert refusal(call, model_management_pb2.ReloadConfigRequest()) == (
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
        "supported",
    )
    assert refusal(call, reload_request(("m", other), ("m", other))) == (
        "INVALID_ARGUMENT",
        "Illegal to list model m multiple times in config list",
    )
    assert refusal(call, reload_request(("m", Path("relative/path")))) == (
        "INVALID_ARGUMENT",
        "Expected model m to have an absolute path or URI; got base_path()=relative/path",
    )
    assert refusal(call, reload_request(("m", Path(f"{other}\0x")))) == (
        "INVALID_ARGUMENT",
        f"Expected model m to have a base path without null bytes; got base_path()={str(other) + chr(0) + 'x'!r}",
    )
    assert refusal(call, reload_request(("m", other), platform="")) == (
        "INVALID_ARGUMENT",
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
        "model name is m",
    )
    assert refusal(call, reload_request(("bcl", base), platform="caffe")) == (
        "INVALID_ARGUMENT",
        "Illegal to change a model's platform. For model bcl platform was tensorflow and new platform requested is "
        "caffe",
    )
    assert refusal(call, reload_request(("m", other), platform="caffe")) == (
        "INVALID_ARGUMENT",
        "Model m requests unsupported platform caffe",
    )
    both = reload_request(("m", other))
    both.config.model_config_list.config[0].model_type = 1
    assert refusal(call, both)[1].startswith("Illegal setting both ModelServerConfig::model_type (deprecated) and")
    both.config.model_config_list.config[0].model_platform = ""
    both.config.model_config_list.config[0].model_type = 2
    assert refusal(call, both) == ("INVALID_ARGUMENT", "ModelServerConfig::model_type choice 2 not supported.")


def test_reload_cannot_leave_the_configured_folders(reloadable: Any, tmp_path: Path, saved_model: Path) -> None:
    server, call, base = reloadable
    small_model.publish(saved_model, tmp_path / "secret", 1)
    for path in (tmp_path / "secret", base / ".." / ".." / "secret"):
        code, text = refusal(call, reload_request(("m", path)))
        assert code == "PERMISSION_DENIED" and text.startswith("base path of model m must lie in a base path of")
    assert states(server) == {1: "AVAILABLE"}


def test_without_roots_only_the_configured_paths_may_be_named(base: Path, saved_model: Path) -> None:
    """The configured path and what is in it, not its neighbours. Beside /models they would be the whole machine."""
    small_model.publish(saved_model, base.with_name("other"), 4)
    small_model.publish(saved_model, base / "inner", 5)
    with serve(base) as server, grpc.insecure_channel(server.target) as channel:
        call = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
        code, text = refusal(call, reload_request(("bcl", base), ("other", base.with_name("other"))))
        assert (code, text) == (
            "PERMISSION_DENIED",
            "base path of model other must lie in a base path of the configuration or a folder of --model_roots. "
            f"Received: {base.with_name('other')}",
        )
        call(reload_request(("bcl", base), ("inner", base / "inner"), ("again", base)))
        with Client(server.target, model_name="inner") as client:
            assert client.embed({}).shape == (1, 4)
    roots = Roots()
    roots.allow("/models")
    with pytest.raises(RequestError, match="PERMISSION_DENIED"):
        roots.check("/etc", "x")


def test_a_reload_ends_when_its_client_leaves(base: Path, look_again: Callable[[], None]) -> None:
    """It frees its thread and the reloads after it, whether it waits for a model or for another reload."""
    empty = base.with_name("empty")
    empty.mkdir()
    with serve(base, model_roots=str(base.parent), grpc_max_threads=4) as server:
        with grpc.insecure_channel(server.target) as channel:
            call = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
            waiting = [call.future(reload_request(("bcl", base), ("empty", empty))) for _ in range(3)]
            assert eventually(lambda: "empty" in server.core.versions.names())
            # A deadline that passes, then clients that leave.
            with pytest.raises(grpc.RpcError) as caught:
                call(reload_request(("bcl", base)), timeout=0.2)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            for future in waiting:
                future.cancel()
            assert call(reload_request(("bcl", base))).status.error_code == 0
            assert states(server) == {1: "AVAILABLE"}
            busy = [call.future(reload_request(("bcl", base), ("empty", empty))) for _ in range(6)]
            assert eventually(lambda: "empty" in server.core.versions.names())
            for future in busy:
                future.cancel()
            with Client(server.target) as client:
                assert client.embed({}).shape == (1, 4)
        # It is not carried out later either: that would undo what came after it.
        with pytest.raises(RequestError, match="CANCELLED: another reload had not ended before the client had gone"):
            server.core.reload(reload_request(("empty", empty)).config, wanted=lambda: False)
        look_again()
        assert states(server) == {1: "AVAILABLE"}


def test_requests_whose_clients_have_gone_are_not_started(base: Path) -> None:
    """They wait for their turn, and give it up when their clients leave."""
    with serve(base, grpc_max_threads=1) as server, Client(server.target) as client:
        with grpc.insecure_channel(server.target) as channel:
            predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            held = predict.future(predict_request("hold", rows=np.zeros(1, np.int32)).SerializeToString())
            assert eventually(lambda: server.core.versions.states("bcl")[1].users)
            data = predict_request(x=X).SerializeToString()
            assert server._grpc is not None
            waiting = server._grpc._messages._running._queue
            queued = [predict.future(data) for _ in range(5)]
            assert eventually(lambda: len(waiting) == 5)
            for future in queued:
                future.cancel()
            assert eventually(lambda: not waiting)
            last = predict.future(data)
            assert eventually(lambda: len(waiting) == 1)
            small_model.release(server, 1)
            assert held.exception() is None and last.exception() is None
        assert client.embed({}).shape == (1, 4)
        assert server.metrics.value("/tensorflow/serving/request_count") == 3  # the held one, the last, the client's


def test_reload_reports_a_new_model_that_fails(reloadable: Any) -> None:
    _, call, base = reloadable
    _break_graph(base.with_name("other") / "4")
    code, text = refusal(call, reload_request(("bcl", base), ("other", base.with_name("other"))))
    assert code == "UNKNOWN"
    assert text.startswith("1 model(s) did not become available: {{{name: other version: 4} due to error: DATA_LOSS")


def test_labels(reloadable: Any, saved_model: Path) -> None:
    server, call, base = reloadable
    small_model.publish(saved_model, base, 2)
    assert eventually(lambda: states(server).get(2) == "AVAILABLE")
    both = "model_version_policy { all {} }"
    assert refusal(call, reload_request(("bcl", base), extra='version_labels { key: "old" value: 9 }')) == (
        "FAILED_PRECONDITION",
        "Request to assign label to version 9 of model bcl, which is not currently available for inference",
    )
    call(reload_request(("bcl", base), extra=both))
    assert eventually(lambda: states(server) == {2: "AVAILABLE", 1: "AVAILABLE"})
    labels = 'version_labels { key: "old" value: 1 } version_labels { key: "new" value: 2 }'
    call(reload_request(("bcl", base), extra=both + labels))
    for label, version in (("old", "1"), ("new", "2")):
        with Client(server.target, version_label=label) as client:
            assert client.embed({}).shape == (1, 4)
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/bcl/labels/{label}"
        body = b'{"signature_name": "dense", "instances": [[1, 1]]}'
        with urllib.request.urlopen(f"{url}:predict", body) as reply:
            assert json.load(reply) == {"predictions": [[3.0, 5.0, 7.0]]}
        with urllib.request.urlopen(f"{url}/metadata") as reply:
            assert json.load(reply)["model_spec"]["version"] == version
    unknown = "INVALID_ARGUMENT: Unrecognized servable version label: none"
    with Client(server.target, version_label="none") as client, pytest.raises(ServingError, match=unknown):
        client.embed({})


def test_only_a_new_label_may_run_ahead_of_its_version(base: Path, saved_model: Path) -> None:
    with serve(base, allow_version_labels_for_unavailable_models=True) as server:
        with grpc.insecure_channel(server.target) as channel:
            call = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
            label = 'version_labels { key: "next" value: %s }'
            call(reload_request(("bcl", base), extra=label % 2))
            assert refusal(call, reload_request(("bcl", base), extra=label % 3)) == (
                "FAILED_PRECONDITION",
                "Request to assign label to version 3 of model bcl, which is not currently available for inference",
            )
            small_model.publish(saved_model, base, 3)
            assert eventually(lambda: states(server).get(3) == "AVAILABLE")
            call(reload_request(("bcl", base), extra=label % 3))
        with Client(server.target, version_label="next") as client:
            assert client.embed({}).shape == (1, 4)


def test_a_configuration_of_another_type_is_refused() -> None:
    models, custom = (model_server_config_pb2.ModelServerConfig() for _ in range(2))
    models.model_config_list.SetInParent()
    custom.custom_model_config.SetInParent()
    check_transition(model_server_config_pb2.ModelServerConfig(), models)
    check_transition(models, models)
    for old, new in ((models, custom), (custom, models), (custom, custom)):
        with pytest.raises(RequestError) as caught:
            check_transition(old, new)
        assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION
        assert caught.value.message == (
            "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another."
        )


def test_a_refused_label_leaves_the_new_configuration_recorded(reloadable: Any) -> None:
    server, call, base = reloadable
    label = 'version_labels { key: "x" value: 9 }'
    request = reload_request(("bcl", base), ("other", base.with_name("other")), extra=label)
    assert refusal(call, request)[0] == "FAILED_PRECONDITION"
    # TensorFlow Serving's trap: "other" counts as known now, so this reload does not wait for it.
    call(reload_request(("bcl", base), ("other", base.with_name("other"))))
    with Client(server.target, model_name="other") as client:
        assert client.wait_until_available(LAST_RESORT)


def test_configuration_file_is_read_again(base: Path, saved_model: Path, tmp_path: Path, caplog: Any) -> None:
    small_model.publish(saved_model, tmp_path / "far" / "other", 2)
    file = tmp_path / "models.config"
    entry = 'model_config_list {{ config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" {} }} }}'
    label = 'version_labels { key: "stable" value: 1 }'
    file.write_text(entry.format("bcl", base, label))
    with pytest.raises(RequestError, match="FAILED_PRECONDITION: Request to assign label to version 1"):
        EmbeddedServer(port=0, model_config_file=str(file)).start()
    with EmbeddedServer(
        port=0,
        model_config_file=str(file),
        model_config_file_poll_wait_seconds=POLL,
        file_system_poll_wait_seconds=POLL,
        allow_version_labels_for_unavailable_models=True,
    ) as server:
        with Client(server.target, version_label="stable") as client:
            assert client.embed({}).shape == (1, 4)
        replace_text(file, "nonsense {")
        assert eventually(lambda: "models.config was not taken over: INVALID_ARGUMENT" in caplog.text)
        assert states(server) == {1: "AVAILABLE"}
        replace_text(file, entry.format("other", tmp_path / "far" / "other", ""))
        with Client(server.target, model_name="other") as client:
            assert client.wait_until_available(LAST_RESORT)[0].version == 2


def replace_text(file: Path, text: str) -> None:
    """Replaces the file by a rename, so that a server reads the old text or the new one."""
    aside = file.with_name("aside")
    aside.write_text(text)
    aside.replace(file)


def test_configuration_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    with pytest.raises(RequestError, match=r"NOT_FOUND: .*models.config; No such file or directory"):
        EmbeddedServer(port=0, model_config_file=str(file))
    file.write_text("nonsense {")
    text = "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:1 : "
    with pytest.raises(RequestError, match=f"INVALID_ARGUMENT: Invalid protobuf file: '.*models.config': {text}"):
        EmbeddedServer(port=0, model_config_file=str(file))
