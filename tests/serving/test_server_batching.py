"""Batching: joined requests, their replies, and each error of TensorFlow Serving's batching session."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_model

from serving.client import Client, ServingError
from serving.server import EmbeddedServer, RequestError
from serving.server.batching.parameters import BatchParameters, read_batch_parameters
from serving.server.batching.scheduler import BatchScheduler, Task
from serving.server.batching.session import BatchingSession
from serving.server.metrics import Metrics
from serving.server.work import Work
from tests.waiting import LAST_RESORT, eventually


class RecordingSession:
    """A session that records its requests, doubles `x`, and waits at a gate."""

    def __init__(self) -> None:
        self.runs: list[np.ndarray] = []
        self.timeouts: list[int | None] = []
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.rows_lost = 0
        self.signatures = {"s": _Signature({"x": "x:0"}, {"y": "y:0"}), "init": _Signature({}, {"op": "op:0"})}

    def run(self, feeds: Sequence[tuple[str, np.ndarray]], fetches: Sequence[str], timeout_ms: Any = None) -> list[Any]:
        self.asked += 1
        self.gate.wait()
        value = dict(feeds)["x:0"]
        self.runs.append(value)
        self.timeouts.append(timeout_ms)
        doubled = value * 2 if value.dtype != object else value
        return [doubled[: len(value) - self.rows_lost] for _ in fetches]


class _Signature:
    def __init__(self, inputs: dict[str, str], outputs: dict[str, str]) -> None:
        self.inputs = {alias: _Info(name) for alias, name in inputs.items()}
        self.outputs = {alias: _Info(name) for alias, name in outputs.items()}


class _Info:
    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def batching() -> Iterator[Any]:
    schedulers = []

    def make(waits: bool = False, **parameters: Any) -> tuple[RecordingSession, BatchingSession]:
        scheduler = BatchScheduler(BatchParameters(**{"num_batch_threads": 1, **parameters}), waits_whole_timeout=waits)
        schedulers.append(scheduler)
        session = RecordingSession()
        return session, BatchingSession(session, scheduler, Metrics())  # type: ignore[arg-type]

    yield make
    for scheduler in schedulers:
        scheduler.stop()


def run(session: BatchingSession, value: Any, timeout_ms: int | None = None) -> np.ndarray:
    return session.run([("x:0", np.asarray(value))], ["y:0"], timeout_ms)[0]


def queued(session: BatchingSession) -> int:
    """Requests that wait for a batch thread."""
    return sum(len(batch.tasks) for queue in session._queues.values() for batch in queue.batches)


def hold_the_only_thread(pool: ThreadPoolExecutor, session: BatchingSession, recording: RecordingSession) -> Any:
    """Closes the gate and sends a request that waits there."""
    recording.gate.clear()
    before = recording.asked
    first = pool.submit(run, session, np.zeros((1, 1)))
    assert eventually(lambda: recording.asked > before)
    return first


def _is_queued_or_done(session: BatchingSession, before: int, asking: Future[None]) -> bool:
    return queued(session) > before or asking.done()


def together(session: BatchingSession, recording: RecordingSession, values: Sequence[Any]) -> list[Any]:
    """Sends requests while the only batch thread is held, so that they are in the queue together, in order."""
    results: list[Any] = [None] * len(values)

    def ask(index: int) -> None:
        try:
            results[index] = run(session, values[index])
        except RequestError as error:
            results[index] = error

    with ThreadPoolExecutor(len(values) + 1) as pool:
        hold_the_only_thread(pool, session, recording)
        for index in range(len(values)):
            before = queued(session)
            asking = pool.submit(ask, index)
            assert eventually(partial(_is_queued_or_done, session, before, asking))
        recording.gate.set()
    return results


def test_concurrent_requests_share_a_run(batching: Any) -> None:
    recording, session = batching(max_batch_size=10)
    values = [np.full((rows, 1), float(rows)) for rows in (1, 2, 3)]
    results = together(session, recording, values)
    assert [len(value) for value in recording.runs] == [1, 6]
    for value, result in zip(values, results, strict=True):
        np.testing.assert_array_equal(result, value * 2)


def test_a_full_batch_does_not_wait(batching: Any) -> None:
    recording, session = batching(max_batch_size=4, batch_timeout_micros=60_000_000)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda number: run(session, np.full((1, 1), number)), range(4)))
    assert sorted(int(result[0, 0]) for result in results) == [0, 2, 4, 6]
    assert [len(value) for value in recording.runs] == [4]


def test_a_single_client_does_not_wait_for_others(batching: Any) -> None:
    """Once a batch has shown that nobody else is there."""
    recording, session = batching(max_batch_size=4, batch_timeout_micros=600_000_000)
    run(session, np.zeros((4, 1)))
    for _ in range(3):
        run(session, np.zeros((1, 1)))
    assert [len(value) for value in recording.runs] == [4, 1, 1, 1]


def test_a_batch_waits_for_the_clients_of_late(batching: Any) -> None:
    recording, session = batching(max_batch_size=4, batch_timeout_micros=600_000_000)
    run(session, np.zeros((4, 1)))
    with ThreadPoolExecutor(3) as pool:
        first = hold_the_only_thread(pool, session, recording)
        second = pool.submit(run, session, np.zeros((1, 1)))
        assert eventually(lambda: queued(session) == 1)
        recording.gate.set()
        first.result()
        # Two were there together. So the second waits until the first client comes back.
        assert queued(session) == 1 and not second.done()
        assert len(run(session, np.zeros((1, 1)))) == len(second.result()) == 1
    assert [len(value) for value in recording.runs] == [4, 1, 2]


def test_clients_that_have_left_are_forgotten(batching: Any) -> None:
    recording, session = batching(max_batch_size=4, batch_timeout_micros=1000)
    together(session, recording, [np.zeros((1, 1))] * 3)
    presence = next(iter(session._queues.values())).presence
    assert presence.now == 0 and not presence.is_complete()
    for _ in range(2):
        run(session, np.zeros((1, 1)))
    presence.change(1)
    assert presence.is_complete()


def test_a_server_can_wait_as_tensorflow_serving_does(batching: Any) -> None:
    recording, session = batching(waits=True, max_batch_size=4, batch_timeout_micros=600_000_000)
    run(session, np.zeros((4, 1)))
    with ThreadPoolExecutor(2) as pool:
        alone = pool.submit(run, session, np.zeros((1, 1)))
        assert eventually(lambda: queued(session) == 1)
        time.sleep(0.05)
        assert not alone.done()
        assert len(run(session, np.zeros((3, 1)))) == 3 and len(alone.result()) == 1
    assert [len(value) for value in recording.runs] == [4, 4]


def test_batches_are_filled_up_with_the_first_row_of_the_last_request(batching: Any) -> None:
    recording, session = batching(max_batch_size=8, allowed_batch_sizes=(4, 8))
    results = together(session, recording, [[[1.0], [2.0]], [[3.0], [4.0], [5.0]]])
    np.testing.assert_array_equal(recording.runs[1].ravel(), [1, 2, 3, 4, 5, 3, 3, 3])
    np.testing.assert_array_equal(results[1].ravel(), [6, 8, 10])


def test_rows_of_different_lengths_run_alone(batching: Any) -> None:
    recording, session = batching(max_batch_size=10)
    results = together(session, recording, [[[1.0]], [[2.0, 3.0]]])
    assert [result.tolist() for result in results] == [[[2.0]], [[4.0, 6.0]]]
    assert [value.shape for value in recording.runs] == [(1, 1), (1, 1), (1, 2)]


def test_padding_uses_the_first_element_of_each_request(batching: Any) -> None:
    recording, session = batching(max_batch_size=10, pad_variable_length_inputs=True)
    together(session, recording, [[[7.0], [8.0]], [[2.0, 3.0]]])
    np.testing.assert_array_equal(recording.runs[1], [[7, 7], [8, 7], [2, 3]])
    results = together(session, recording, [np.zeros((1, 0)), [[2.0]]])
    assert [result.shape for result in results] == [(1, 0), (1, 1)]  # no element to pad the first with


def test_requests_of_different_types_run_alone(batching: Any) -> None:
    recording, session = batching(max_batch_size=10)
    results = together(session, recording, [np.ones((1, 1), np.float32), np.ones((1, 1), np.float64)])
    assert [result.dtype.name for result in results] == ["float32", "float64"]


def test_a_failing_request_fails_alone_and_no_other_client_sees_its_bytes(batching: Any) -> None:
    recording, session = batching(max_batch_size=10)
    run_all = recording.run

    def refuse_negative(feeds: Sequence[tuple[str, np.ndarray]], *rest: Any) -> list[Any]:
        found = run_all(feeds, *rest)
        if len(negative := (values := dict(feeds)["x:0"])[values < 0]):
            raise RequestError.from_number(3, f"refused {negative.tolist()}")
        return found

    recording.run = refuse_negative
    results = together(session, recording, [[[1.0]], [[-2.0]], [[3.0], [4.0]], [[-5.0]]])
    assert [results[0].tolist(), results[2].tolist()] == [[[2.0]], [[6.0], [8.0]]]
    assert [results[1].message, results[3].message] == ["refused [-2.0]", "refused [-5.0]"]
    assert [len(value) for value in recording.runs] == [1, 5, 1, 1, 2, 1]  # the gate's, the batch, each request


def test_a_request_whose_client_has_left_is_in_no_batch(batching: Any) -> None:
    recording, session = batching(max_batch_size=10)
    leaves = Work()

    def ask(value: float, work: Work) -> Any:
        return session.run([("x:0", np.array([[value]]))], ["y:0"], None, work)

    with ThreadPoolExecutor(3) as pool:
        first = hold_the_only_thread(pool, session, recording)
        left, stays = pool.submit(ask, 1.0, leaves), pool.submit(ask, 2.0, Work())
        assert eventually(lambda: queued(session) == 2)
        leaves.leave()
        with pytest.raises(RequestError, match="CANCELLED: the client has left"):
            left.result(LAST_RESORT)
        recording.gate.set()
        stays.result(LAST_RESORT)
        first.result(LAST_RESORT)
    assert [value.tolist() for value in recording.runs] == [[[0.0]], [[2.0]]]


def test_a_batch_that_used_up_its_time_does_not_run_again(batching: Any) -> None:
    recording, session = batching(max_batch_size=10)
    run_all = recording.run

    def too_slow(feeds: Sequence[tuple[str, np.ndarray]], *rest: Any) -> list[Any]:
        found = run_all(feeds, *rest)
        if len(recording.runs) > 1:
            raise RequestError.from_number(4, "Timed out waiting for notification")
        return found

    recording.run = too_slow
    results = together(session, recording, [[[1.0]], [[2.0]]])
    assert [result.code.name for result in results] == ["DEADLINE_EXCEEDED"] * 2
    assert [len(value) for value in recording.runs] == [1, 2]


def test_inputs_that_cannot_be_batched(batching: Any) -> None:
    _, session = batching(max_batch_size=8)
    with pytest.raises(
        RequestError, match=r"INVALID_ARGUMENT: Batching Run.. input tensors must have at least one dim"
    ):
        run(session, 1.0)
    with pytest.raises(RequestError, match="INVALID_ARGUMENT: Task size 9 is larger than maximum input batch size 8"):
        run(session, np.zeros((9, 1)))
    recording = RecordingSession()
    recording.signatures = {"s": _Signature({"x": "x:0", "z": "z:0"}, {"y": "y:0"})}
    scheduler = BatchScheduler(BatchParameters(num_batch_threads=1))
    two = BatchingSession(recording, scheduler, Metrics())  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="input tensors must have equal 0th-dimension size"):
        two.run([("x:0", np.zeros(2)), ("z:0", np.zeros(3))], ["y:0"])
    scheduler.stop()


def test_a_full_queue_is_unavailable(batching: Any) -> None:
    recording, session = batching(max_batch_size=1, max_enqueued_batches=2)
    results = together(session, recording, [[[1.0]], [[2.0]], [[3.0]]])
    assert results[2].code.name == "UNAVAILABLE"
    assert results[2].message.startswith("The batch scheduling queue to which this task was submitted is full")
    assert [float(result[0, 0]) for result in results[:2]] == [2.0, 4.0]


def test_outputs_must_have_a_row_per_row(batching: Any) -> None:
    recording, session = batching(max_batch_size=8)
    recording.rows_lost = 1
    with pytest.raises(RequestError, match="FAILED_PRECONDITION: Batched output tensor's 0th dimension does not equal"):
        run(session, np.zeros((2, 1)))


def test_large_requests_are_split(batching: Any) -> None:
    recording, session = batching(
        max_batch_size=10, enable_large_batch_splitting=True, max_execution_batch_size=4, max_enqueued_batches=4
    )
    value = np.arange(10.0)[:, None]
    np.testing.assert_array_equal(run(session, value), value * 2)
    assert [len(part) for part in recording.runs] == [4, 4, 2]
    results = together(session, recording, [value, value])
    np.testing.assert_array_equal(results[0], value * 2)
    assert results[1].code.name == "UNAVAILABLE" and "scheduling capacity is only 6" in results[1].message


def test_what_one_thread_leaves_another_takes() -> None:
    parameters: dict[str, Any] = {
        "max_batch_size": 4,
        "max_execution_batch_size": 2,
        "enable_large_batch_splitting": True,
    }
    scheduler = BatchScheduler(BatchParameters(num_batch_threads=2, **parameters))
    both_run = threading.Barrier(2, timeout=LAST_RESORT)

    def wait_for_the_other(tasks: Sequence[Task]) -> None:
        for _ in tasks:
            both_run.wait()

    queue = scheduler.add_queue(wait_for_the_other)
    tasks = queue.submit(3, lambda sizes: [Task(None, size) for size in sizes])
    assert [(task.size, task.result()) for task in tasks] == [(2, None), (1, None)]
    scheduler.stop()


def test_the_longest_deadline_of_a_batch_counts(batching: Any) -> None:
    recording, session = batching(max_batch_size=8)
    hour = 3_600_000
    with ThreadPoolExecutor(3) as pool:
        first = hold_the_only_thread(pool, session, recording)
        late = [pool.submit(run, session, np.zeros((1, 1)), timeout) for timeout in (1, 2 * hour)]
        assert eventually(lambda: queued(session) == 2)
        recording.gate.set()
        assert all(len(done.result()) == 1 for done in [first, *late])
        assert hour < (recording.timeouts[1] or 0) <= 2 * hour
        hold_the_only_thread(pool, session, recording)
        expired = pool.submit(run, session, np.zeros((1, 1)), 1)
        assert eventually(lambda: queued(session) == 1)
        time.sleep(0.01)  # longer than its time limit
        recording.gate.set()
        with pytest.raises(RequestError, match=r"RESOURCE_EXHAUSTED: Run.. timeout exceeded while waiting in batching"):
            expired.result()


def test_an_unexpected_failure_reaches_the_client(batching: Any) -> None:
    recording, session = batching(max_batch_size=8)
    recording.signatures = {}
    recording.run = None
    with pytest.raises(RequestError, match="INTERNAL: TypeError"):
        run(session, np.zeros((1, 1)))


def test_a_stopped_scheduler_takes_no_more(batching: Any) -> None:
    scheduler = BatchScheduler(BatchParameters(num_batch_threads=1))
    queue = scheduler.add_queue(lambda tasks: None)
    scheduler.stop()
    with pytest.raises(RequestError, match="UNAVAILABLE: the server is shutting down"):
        queue.submit(1, lambda sizes: [Task(None, size) for size in sizes])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be positive; was 0"),
        ({"num_batch_threads": 0}, "num_batch_threads must be positive; was 0"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be non-negative; was -1"),
        ({"max_batch_size": 8, "allowed_batch_sizes": (4, 2, 8)}, "entries must be monotonically increasing"),
        (
            {"max_batch_size": 8, "allowed_batch_sizes": (2, 4)},
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
        ),
        (
            {
                "max_batch_size": 8,
                "enable_large_batch_splitting": True,
                "max_execution_batch_size": 4,
                "allowed_batch_sizes": (2, 8),
            },
            "must match max_execution_batch_size; last entry was 8; expected 4",
        ),
    ],
)
def test_parameters_that_do_not_fit(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        BatchParameters(**settings)


PARAMETERS = """
max_batch_size { value: 8 }
batch_timeout_micros { value: 200000 }
max_enqueued_batches { value: 50 }
num_batch_threads { value: 2 }
allowed_batch_sizes: 4
allowed_batch_sizes: 8
pad_variable_length_inputs: true
"""


def test_parameters_file(tmp_path: Path) -> None:
    file = tmp_path / "batching.config"
    file.write_text(PARAMETERS)
    assert read_batch_parameters(str(file)) == BatchParameters(
        max_batch_size=8,
        batch_timeout_micros=200_000,
        max_enqueued_batches=50,
        num_batch_threads=2,
        allowed_batch_sizes=(4, 8),
        pad_variable_length_inputs=True,
    )
    assert read_batch_parameters("") == BatchParameters()
    file.write_text("max_batch_size: 8")
    with pytest.raises(RequestError, match=r"Invalid protobuf file: '.*batching.config'"):
        read_batch_parameters(str(file))


@pytest.fixture(scope="module")
def batched_server(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    base = tmp_path_factory.mktemp("batched") / "bcl"
    small_model.publish(saved_model, base, 1)
    file = base.parent / "batching.config"
    file.write_text(PARAMETERS)
    with EmbeddedServer(
        port=0, model_name="bcl", model_base_path=str(base), enable_batching=True, batching_parameters_file=str(file)
    ) as server:
        yield server


def test_every_client_gets_its_own_rows_back(batched_server: EmbeddedServer) -> None:
    """Tags of unequal number, too: the server's padding must not look like a tag."""
    songs: list[dict[str, Any]] = [
        {"audio_tempo": float(number), "attribute_tags": ["t"] * (number % 5), "song_id": f"s{number % 5 + 1}"}
        for number in range(64)
    ]
    batches = "/tensorflow/serving/batching_session/wrapped_run_count"
    before = batched_server.metrics.value(batches)
    with Client(batched_server.target) as client, ThreadPoolExecutor(16) as pool:
        embeddings = list(pool.map(client.embed, songs))
        matches = list(pool.map(lambda song: client.match(song, k=int(song["audio_tempo"]) % 3 + 1), songs))
    for song, embedding in zip(songs, embeddings, strict=True):
        np.testing.assert_allclose(embedding, small_model.embedding([song]))
    for song, (ids, scores) in zip(songs, matches, strict=True):
        assert ids.shape == scores.shape == (1, int(song["audio_tempo"]) % 3 + 1)
        assert song["song_id"] not in ids
    run = batched_server.metrics.value(batches) - before
    assert len(songs) * 2 / 8 <= run < len(songs) * 2  # batches hold up to 8 requests; some held more than one


def test_refusals_reach_the_client(batched_server: EmbeddedServer) -> None:
    with Client(batched_server.target) as client:
        with pytest.raises(
            ServingError, match="INVALID_ARGUMENT: Task size 9 is larger than maximum input batch size 8"
        ):
            client.embed([{}] * 9)
        with pytest.raises(ServingError, match="Matrix size-incompatible"):
            client.predict({"x": np.ones((2, 5))}, "dense")
        # Rows of another rank than the signature's are batched like others, and their op fails.
        assert client.predict({"x": np.ones((1, 2))}, "dense")["y"].shape == (1, 3)
