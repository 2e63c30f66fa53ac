"""Matches per second through the server, beside the same session in process, and REST beside gRPC.

What is compared takes turns of a few seconds. So what else runs on the machine slows all of it alike. Processor time is
counted as well: it depends less on the neighbours.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np

from benchmarks.serving.asking import latencies, over_grpc, over_rest
from benchmarks.serving.servers import server
from benchmarks.serving.songs_index import DIMENSION, Session, export_index, numpy_rows
from tests.serving.fuzz import predict_request

CONCURRENCY, ROWS_EACH = 16, 4
ROUNDS = 5
WARM_UP = 5.0  # seconds; the first calls of a session plan and allocate, and are not counted
BATCHING = Path("serving/config/batching.config")
#: Rows of a batch and batches at the same time, one of which is the session's best.
IN_PROCESS = ((64, 1), (64, 2), (256, 1), (256, 2))


@dataclass
class Turns:
    """What one way of asking did in all its turns."""

    rows: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    replies: list[float] = field(default_factory=list)

    def add(self, run: Callable[[], int], cpu: Callable[[], float] = time.process_time) -> None:
        """Runs one turn."""
        start, cpu_before = time.perf_counter(), cpu()
        self.rows += run()
        self.seconds += time.perf_counter() - start
        self.cpu += cpu() - cpu_before

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of processor time for each row."""
        return self.cpu / self.rows * 1e3


def cpu_seconds(pid: int) -> float:
    """Processor time of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def batches_run(rest_port: int) -> float:
    """Batches that the server's session has run."""
    with urlopen(f"http://127.0.0.1:{rest_port}/monitoring/prometheus/metrics", timeout=10) as page:
        found = re.search(r"wrapped_run_count(?:\{\})? ([\d.e+]+)", page.read().decode())
    assert found, "the server must count its batches"
    return float(found[1])


@dataclass
class Served:
    """A server that runs, what it serves and what to ask it."""

    target: str
    rest: int
    pid: int
    folder: Path
    index: np.ndarray
    queries: np.ndarray

    def cpu(self) -> float:
        """Processor time of the server and of its clients, which are this process."""
        return cpu_seconds(self.pid) + time.process_time()

    def parts(self) -> list[np.ndarray]:
        """The queries as requests of a few rows."""
        return [self.queries[start : start + ROWS_EACH] for start in range(0, len(self.queries), ROWS_EACH)]

    def grpc_requests(self) -> list[bytes]:
        """The requests over gRPC."""
        none = np.full(ROWS_EACH, b"", object)
        return [predict_request("match", query=part, exclude=none).SerializeToString() for part in self.parts()]

    def rest_requests(self) -> list[bytes]:
        """The same requests over REST."""
        none = [""] * ROWS_EACH
        bodies = [{"inputs": {"query": part.tolist(), "exclude": none}} for part in self.parts()]
        return [json.dumps({"signature_name": "match", **body}).encode() for body in bodies]


@contextmanager
def served(batching: Path) -> Iterator[Served]:
    """Yields a server of the index that joins requests by a batching configuration."""
    with tempfile.TemporaryDirectory() as name:
        base, monitoring = Path(name) / "bcl", Path(name) / "monitoring.config"
        index = export_index(base / "1")
        queries = np.random.default_rng(1).normal(size=(256, DIMENSION)).astype(np.float32)
        monitoring.write_text("prometheus_config { enable: true }")
        flags = ["--enable_batching", f"--batching_parameters_file={batching.absolute()}"]
        with server(base, *flags, f"--monitoring_config_file={monitoring}") as (target, rest, pid):
            yield Served(target, rest, pid, base / "1", index, queries)


def spread(replies: Sequence[float]) -> dict[str, float]:
    """The median and the 99th percentile."""
    median, p99 = np.percentile(replies, [50, 99])
    return {
        "median_ms": round(median * 1e3, 2),
        "p99_ms": round(p99 * 1e3, 2),
        "p99_over_median": round(p99 / median, 2),
    }


def throughput(seconds: float, batching: Path = BATCHING) -> dict[str, Any]:
    """Served matches beside the session's own: with batches as the server made them on average, and at its best."""
    turn = seconds / ROUNDS
    with served(batching) as running, over_grpc(running.target) as clients:
        threads = _batch_threads(batching)
        session, requests = Session(running.folder, running.queries), running.grpc_requests()
        through, equal, brute = Turns(), Turns(), Turns()
        alone: dict[tuple[int, int], Turns] = defaultdict(Turns)
        latencies(clients, requests, CONCURRENCY, WARM_UP)
        for way in IN_PROCESS:
            session.rows(way[0], way[1], 1.0)
        total = 0.0
        for _ in range(ROUNDS):
            before = batches_run(running.rest)
            through.add(lambda: _ask(through, clients, requests, turn), running.cpu)
            batches = batches_run(running.rest) - before
            total += batches
            size = round(len(through.replies) * ROWS_EACH / total)
            equal.add(lambda size=size: session.rows(size, threads, turn / 2))  # type: ignore[misc]
            for way in IN_PROCESS:
                alone[way].add(lambda way=way: session.rows(way[0], way[1], turn / 4))  # type: ignore[misc]
            brute.add(lambda: numpy_rows(running.index, running.queries, 64, turn / 4))
        session.close()
    best = max(alone.values(), key=lambda turns: turns.rate)
    return {
        "served_rows_per_s": round(through.rate),
        "in_process_rows_per_s": round(equal.rate),
        "best_rows_per_s": {f"{rows} rows, {at_once} at once": round(t.rate) for (rows, at_once), t in alone.items()},
        "numpy_rows_per_s": round(brute.rate),
        "share": round(through.rate / equal.rate, 3),
        "share_of_best": round(through.rate / best.rate, 3),
        "cpu_ms_per_row": round(through.cpu_ms, 3),
        "cpu_share": round(equal.cpu_ms / through.cpu_ms, 3),
        "cpu_share_of_best": round(min(turns.cpu_ms for turns in alone.values()) / through.cpu_ms, 3),
        **spread(through.replies),
        "batch_rows": size,
    }


def _ask(turns: Turns, clients: Any, requests: Sequence[bytes], seconds: float) -> int:
    replies = latencies(clients, requests, CONCURRENCY, seconds)
    turns.replies += replies
    return len(replies) * ROWS_EACH


def _batch_threads(batching: Path) -> int:
    from serving.server.batching.parameters import read_batch_parameters

    return read_batch_parameters(str(batching)).num_batch_threads


def rest(seconds: float, batching: Path = BATCHING) -> dict[str, Any]:
    """The same matches over REST and over gRPC, from equally many clients."""
    turn = seconds / ROUNDS / 2
    with (
        served(batching) as running,
        over_grpc(running.target) as grpc_clients,
        over_rest(running.rest, "bcl") as rest_clients,
    ):
        ways = {
            "grpc": (Turns(), grpc_clients, running.grpc_requests()),
            "rest": (Turns(), rest_clients, running.rest_requests()),
        }
        for _, clients, requests in ways.values():
            latencies(clients, requests, CONCURRENCY, WARM_UP / 2)
        for _ in range(ROUNDS):
            for turns, clients, requests in ways.values():
                turns.add(
                    lambda turns=turns, clients=clients, requests=requests: _ask(turns, clients, requests, turn),  # type: ignore[misc]
                    running.cpu,
                )
    over = {name: turns for name, (turns, _, _) in ways.items()}
    return {
        **{f"{name}_rows_per_s": round(turns.rate) for name, turns in over.items()},
        **{f"{name}_cpu_ms_per_row": round(turns.cpu_ms, 3) for name, turns in over.items()},
        "share": round(over["rest"].rate / over["grpc"].rate, 3),
        "cpu_share": round(over["grpc"].cpu_ms / over["rest"].cpu_ms, 3),
        "rest_p99_over_median": spread(over["rest"].replies)["p99_over_median"],
    }
