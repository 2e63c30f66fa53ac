"""A server in a process of its own, and the load that asks it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from serving.protocol import protos
from tests.serving.fuzz import PREDICT


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


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]
