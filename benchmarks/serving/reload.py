"""Load while versions are published and retired."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.servers import load, resident_mib, server
from serving.client import Client
from tests.serving.fuzz import predict_request


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
