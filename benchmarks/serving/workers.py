"""`match` through one process and through two, in turns."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil

from benchmarks.serving.recorded import recorded_request
from benchmarks.serving.servers import server
from tests.serving.fuzz import PREDICT

ROUNDS = 3
# A connection stays with one worker. So many are spread evenly enough.
CONNECTIONS = 32


def workers(seconds: float, base: Path, count: int = 2) -> dict[str, Any]:
    """Requests per second and processor milliseconds per request, of one process and of several.

    Args:
        seconds: Of each round; there are three of either.
        base: Folder with the versions of a model that has a warm-up request of `match`.
        count: How many processes the second server has.
    """
    rounds: dict[str, list[tuple[float, float, float]]] = {"one": [], "several": []}
    request = recorded_request(base)
    with server(base) as (one, _, one_pid), server(base, f"--workers={count}") as (several, _, several_pid):
        targets = {"one": (one, one_pid), "several": (several, several_pid)}
        for target, pid in targets.values():
            _round(target, pid, request, min(2.0, seconds))
        for _ in range(ROUNDS):
            for name, (target, pid) in targets.items():
                rounds[name].append(_round(target, pid, request, seconds))
    result: dict[str, Any] = {"workers": count}
    for name, found in rounds.items():
        rates, server_ms, load_ms = (np.median(column) for column in zip(*found, strict=True))
        result[f"{name}_requests_per_s"] = round(rates)
        result[f"{name}_server_cpu_ms"] = round(server_ms, 2)
        result[f"{name}_load_cpu_ms"] = round(load_ms, 2)
    ratios = [several[0] / one[0] for one, several in zip(rounds["one"], rounds["several"], strict=True)]
    return {**result, "ratio": round(float(np.median(ratios)), 2), "ratios": [round(ratio, 2) for ratio in ratios]}


def _round(target: str, pid: int, request: bytes, seconds: float) -> tuple[float, float, float]:
    """Asks for a while; returns requests per second, and processor milliseconds per request of server and load."""
    before = _cpu_seconds(pid)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        done = pool.submit(load, target, request, seconds).result()
    spent = _cpu_seconds(pid) - before
    return done["requests"] / seconds, 1e3 * spent / done["requests"], 1e3 * done["cpu"] / done["requests"]


def _cpu_seconds(pid: int) -> float:
    """Processor seconds of a process and of its children."""
    parent = psutil.Process(pid)
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return float(sum(time.user + time.system for time in times))


def load(target: str, request: bytes, seconds: float) -> dict[str, float]:
    """Asks over many connections at once; returns the number of answers and the processor seconds of this process."""
    start, end = time.process_time(), time.monotonic() + seconds

    def ask(_: int) -> int:
        count = 0
        with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            call = channel.unary_unary(PREDICT)
            while time.monotonic() < end:
                call(request, timeout=60)
                count += 1
        return count

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return {"requests": sum(pool.map(ask, range(CONNECTIONS))), "cpu": time.process_time() - start}
