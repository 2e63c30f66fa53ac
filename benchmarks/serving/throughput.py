"""Matches per second through the server, beside the same session in process."""

from __future__ import annotations

import re
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np

from benchmarks.serving.servers import load, server
from tests.serving.fuzz import predict_request

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
