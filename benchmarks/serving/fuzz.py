"""Malformed requests against a server."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.serving.servers import server
from tests.serving.fuzz import fuzz


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
