"""Measure the embedded server. Each command runs a server in a process of its own and prints a line of JSON.

python -m benchmarks.serving throughput --seconds 20   matches over 100,000 songs at concurrency 16, with batching,
                                                        beside the same session in-process and numpy's brute force
python -m benchmarks.serving reload --seconds 60       concurrency 32 while 20 versions are published and retired
python -m benchmarks.serving memory --seconds 600      the same for ten minutes: growth of memory after the first
python -m benchmarks.serving fuzz --count 10000        malformed requests
python -m benchmarks.serving startup                   time until the client is imported, and until a server is ready
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np

from serving.client import Client
from serving.protocol import protos
from tests.serving.fuzz import PREDICT, fuzz, predict_request

SONGS, DIMENSION, K = 100_000, 64, 10
MAX_BATCH = 64
WARM_UP = 5.0  # seconds
BATCHING = f"""
max_batch_size {{ value: {MAX_BATCH} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 1000 }}
num_batch_threads {{ value: 2 }}
"""


def export_index(folder: Path, seed: int = 0) -> np.ndarray:
    """Save the exported model's own index with 100,000 songs, behind a signature that takes vectors; returns them."""
    # First, because it sets what tensorflow_recommenders needs before TensorFlow is imported.
    from serving.export.song_index import SongIndex

    import tensorflow as tf  # isort: skip

    vectors = np.random.default_rng(seed).normal(size=(SONGS, DIMENSION)).astype(np.float32)

    class Matcher(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            ids = tf.constant([f"song-{number}" for number in range(SONGS)])
            self.index = SongIndex().index(tf.constant(vectors), ids)

        def match(self, query: tf.Tensor, exclude: tf.Tensor) -> dict[str, tf.Tensor]:
            ids, scores = self.index.nearest_but(query, exclude, k=tf.constant(K))
            return {"song_ids": ids, "scores": scores}

    module = Matcher()
    query = tf.TensorSpec([None, DIMENSION], tf.float32, name="query")
    exclude = tf.TensorSpec([None], tf.string, name="exclude")
    match = tf.function(module.match).get_concrete_function(query=query, exclude=exclude)
    tf.saved_model.save(module, str(folder), {"match": match})
    return vectors


@contextmanager
def server(base: Path, *flags: str) -> Iterator[tuple[str, int, int]]:
    """A server process; yields target, REST port and process id."""
    command = [sys.executable, "-m", "serving.server", "--port=0", "--rest_api_port=-1", "--model_name=bcl"]
    process = subprocess.Popen([*command, f"--model_base_path={base}", *flags], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        ports = re.findall(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        yield f"127.0.0.1:{ports[0]}", int(ports[1]), process.pid
    finally:
        process.terminate()
        process.wait()


def load(
    target: str,
    requests: list[bytes],
    concurrency: int,
    stop: threading.Event,
    oldest: Callable[[], int] = lambda: 0,
) -> tuple[list[float], list[int]]:
    """Ask from many threads until told to stop; latencies in seconds and the versions that answered.

    Raises:
        RpcError: A request failed.
        AssertionError: A version answered that was older than `oldest` when it was asked.
    """
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(PREDICT, response_deserializer=protos.PredictResponse.FromString)

        def ask(worker: int) -> list[tuple[float, int]]:
            done: list[tuple[float, int]] = []
            while not stop.is_set():
                start, live = time.perf_counter(), oldest()
                reply = call(requests[(worker + len(done)) % len(requests)], timeout=60)
                version = reply.model_spec.version.value
                assert version >= live, f"version {version} answered, and {live} was the oldest left"
                done.append((time.perf_counter() - start, version))
            return done

        with ThreadPoolExecutor(concurrency) as pool:
            results = [pair for part in pool.map(ask, range(concurrency)) for pair in part]
    return [seconds for seconds, _ in results], [version for _, version in results]


def batches_run(rest_port: int) -> float:
    """Batches that the server's session has run."""
    with urlopen(f"http://127.0.0.1:{rest_port}/monitoring/prometheus/metrics", timeout=10) as page:
        found = re.search(r"wrapped_run_count(?:\{\})? ([\d.e+]+)", page.read().decode())
    assert found, "the server must count its batches"
    return float(found[1])


def in_process(folder: Path, queries: np.ndarray, batch: int, seconds: float) -> float:
    """Rows per second of the same session asked directly, two threads at a time as the server's batch threads."""
    from serving.savedmodel.session import SavedModelSession

    session = SavedModelSession(str(folder))
    signature = session.signatures["match"]
    none = np.full(batch, b"", object)
    feeds = [(signature.inputs["query"].name, queries[:batch]), (signature.inputs["exclude"].name, none)]
    fetches = [signature.outputs[name].name for name in ("song_ids", "scores")]
    session.run(feeds, fetches)
    end = time.perf_counter() + seconds

    def work(_: int) -> int:
        rows = 0
        while time.perf_counter() < end:
            session.run(feeds, fetches)
            rows += batch
        return rows

    with ThreadPoolExecutor(2) as pool:
        total = sum(pool.map(work, range(2)))
    session.close()
    return total / seconds


def numpy_brute_force(index: np.ndarray, queries: np.ndarray, batch: int, seconds: float) -> float:
    """Rows per second of a matrix product and a partial sort."""
    rows, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        scores = queries[:batch] @ index.T
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)
        rows += batch
    return rows / seconds


def throughput(seconds: float) -> dict[str, Any]:
    """Served matches per second beside the session's own with batches of the size that the server made on average."""
    concurrency, rows_each = 16, 4
    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "bcl"
        index = export_index(base / "1")
        (Path(name) / "batching.config").write_text(BATCHING)
        queries = np.random.default_rng(1).normal(size=(256, DIMENSION)).astype(np.float32)
        parts = [queries[start : start + rows_each] for start in range(0, 256, rows_each)]
        none = np.full(rows_each, b"", object)
        requests = [predict_request("match", query=part, exclude=none).SerializeToString() for part in parts]
        (Path(name) / "monitoring.config").write_text("prometheus_config { enable: true }")
        flags = ["--enable_batching", f"--batching_parameters_file={name}/batching.config"]
        with server(base, *flags, f"--monitoring_config_file={name}/monitoring.config") as (target, rest, _):
            for duration in (WARM_UP, seconds):  # the first calls of a session plan and allocate; they are not counted
                stop, before = threading.Event(), batches_run(rest)
                threading.Timer(duration, stop.set).start()
                latencies, _ = load(target, requests, concurrency, stop)
            batch = round(len(latencies) * rows_each / (batches_run(rest) - before))
        served = len(latencies) * rows_each / seconds
        direct = in_process(base / "1", queries, batch, seconds)
        largest = in_process(base / "1", queries, MAX_BATCH, seconds / 2)
        brute = numpy_brute_force(index, queries, batch, seconds / 2)
    median, p99 = np.percentile(latencies, [50, 99])
    return {
        "served_rows_per_s": round(served),
        "in_process_rows_per_s": round(direct),
        "share": round(served / direct, 3),
        "share_of_largest_batches": round(served / largest, 3),
        "numpy_rows_per_s": round(brute),
        "median_ms": round(median * 1e3, 2),
        "p99_ms": round(p99 * 1e3, 2),
        "p99_over_median": round(p99 / median, 2),
        "batch_rows": batch,
    }


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


def reload(seconds: float, versions: int) -> dict[str, Any]:
    """Load while versions come and go; every reply must come from a version that was live when it was sent for."""
    from tests.serving import small_model

    with tempfile.TemporaryDirectory() as name:
        export, base = small_model.export(Path(name) / "export"), Path(name) / "bcl"
        small_model.publish(export, base, 1)
        requests = [predict_request(x=np.ones((1, 2), np.float32)).SerializeToString()]
        stop, live, memory = threading.Event(), [1], []
        with server(base, "--file_system_poll_wait_seconds=0.2") as (target, _, pid), ThreadPoolExecutor(1) as pool:
            answers = pool.submit(load, target, requests, 32, stop, lambda: live[0])
            began = time.monotonic()
            try:
                for version in range(2, versions + 2):
                    due = began + (version - 1) * seconds / (versions + 1)
                    _replace(target, export, base, version, due)
                    live[0] = version
                    assert not answers.done(), answers.exception()
                    memory.append((time.monotonic() - began, resident_mib(pid)))
                time.sleep(max(0.0, began + seconds - time.monotonic()))
                memory.append((time.monotonic() - began, resident_mib(pid)))
            finally:
                stop.set()
            latencies, answered = answers.result()
    after = [mib for elapsed, mib in memory if elapsed >= 60] or [memory[-1][1]]
    return {
        "seconds": round(memory[-1][0]),
        "requests": len(latencies),
        "failed": 0,  # the first one would have ended the run
        "versions_published": versions,
        "versions_that_answered": len(set(answered)),
        "median_ms": round(float(np.median(latencies)) * 1e3, 2),
        "p99_ms": round(float(np.percentile(latencies, 99)) * 1e3, 2),
        "memory_mib_after_first_minute": round(after[0]),
        "memory_mib_at_most": round(max(after)),
        "memory_mib_at_the_end": round(after[-1]),
        "growth": round(after[-1] / after[0] - 1, 4),
    }


def _replace(target: str, export: Path, base: Path, version: int, due: float) -> None:
    """Publish a version at `due`, and remove the one before as soon as the server has unloaded it."""
    from tests.serving import small_model

    time.sleep(max(0.0, due - time.monotonic()))
    small_model.publish(export, base, version)
    with Client(target, timeout=60) as client:
        while {s.version: s.state for s in client.status()}.get(version - 1) != "END":
            time.sleep(0.05)
    shutil.rmtree(base / str(version - 1))


def run_fuzz(count: int) -> dict[str, Any]:
    """Malformed requests against a server process, which must still be there at the end."""
    from tests.serving import small_model

    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "bcl"
        small_model.publish(small_model.export(Path(name) / "export"), base, 1)
        limits = ["--grpc_max_message_bytes=200000", "--rest_api_max_body_bytes=200000"]
        with server(base, *limits) as (target, rest_port, _):
            start = time.perf_counter()
            seen = fuzz(target, rest_port, count, seed=0)
            return {
                "requests": count,
                "seconds": round(time.perf_counter() - start, 1),
                "codes": dict(sorted(seen.items())),
            }


def startup() -> dict[str, Any]:
    """Seconds to import the client in a fresh process, the best of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import serving.client"], check=True)
        times.append(time.perf_counter() - start)
    return {"import_client_s": round(min(times), 3)}


def main() -> int:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=["throughput", "reload", "memory", "fuzz", "startup"], help="figure to measure, see above"
    )
    parser.add_argument(
        "--seconds", type=float, help="seconds of measuring (default: 20 for throughput, 60 for reload, 600 for memory)"
    )
    parser.add_argument("--count", type=int, default=10_000, help="number of requests of fuzz (default: %(default)s)")
    arguments = parser.parse_args()
    defaults = {"throughput": 20.0, "reload": 60.0, "memory": 600.0}
    seconds = arguments.seconds or defaults.get(arguments.what, 0.0)
    if arguments.what == "throughput":
        result = throughput(seconds)
    elif arguments.what in ("reload", "memory"):
        result = reload(seconds, versions=max(20, int(seconds // 3) if arguments.what == "memory" else 20))
    else:
        result = run_fuzz(arguments.count) if arguments.what == "fuzz" else startup()
    sys.stdout.write(json.dumps({arguments.what: result}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
