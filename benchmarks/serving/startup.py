"""Time until a process is ready."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc

from benchmarks.serving.recorded import recorded_request
from benchmarks.serving.servers import server
from tests.serving.fuzz import PREDICT, predict_request

ROUNDS = 3


def startup(base: Path | None) -> dict[str, Any]:
    """Seconds to import the client, to import TensorFlow, and from the start of a server to its first answer.

    Args:
        base: Folder with the versions of a model that has warm-up requests; None = a small model.
    """
    imports = {name: min(_seconds_to_import(name) for _ in range(ROUNDS)) for name in ("serving.client", "tensorflow")}
    with tempfile.TemporaryDirectory() as name:
        if base is None:
            from tests.serving import small_model

            base = Path(name) / "bcl"
            small_model.publish(small_model.export(Path(name) / "export"), base, 1)
            request = predict_request(x=[[1.0, 1.0]]).SerializeToString()
        else:
            request = recorded_request(base)
        answer = min(_seconds_to_answer(base, request) for _ in range(ROUNDS))
    return {
        "import_client_s": round(imports["serving.client"], 3),
        "import_tensorflow_s": round(imports["tensorflow"], 2),
        "first_answer_s": round(answer, 2),
        "first_answer_beyond_import_s": round(answer - imports["tensorflow"], 2),
    }


def _seconds_to_import(name: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
    return time.perf_counter() - start


def _seconds_to_answer(base: Path, request: bytes) -> float:
    start = time.perf_counter()
    with server(base) as (target, _, _), grpc.insecure_channel(target) as channel:
        channel.unary_unary(PREDICT)(request, timeout=60)
        return time.perf_counter() - start
