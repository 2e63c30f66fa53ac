"""Malformed requests, and hostile ones beside good clients, against a server."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.serving.servers import server
from tests.serving.fuzz import fuzz
from tests.serving.hostile import campaign
from tests.serving.hostile.kinds import Place


def run_fuzz(count: int) -> dict[str, Any]:
    """Malformed requests, then hostile ones, each against a server process that must still be there at the end."""
    return {"malformed": _malformed(count), "hostile": run_hostile(count)}


def _malformed(count: int) -> dict[str, Any]:
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


def run_hostile(count: int, songs: int = 20_000) -> dict[str, Any]:
    """Hostile requests of every kind against a server with its default bounds, beside eight good clients."""
    from tests.serving import small_export

    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "bcl"
        catalogue = small_export.catalogue(songs)
        made = small_export.SmallExport(catalogue)
        made.export(base / "1")
        questions = campaign.questions_of(*campaign.known_songs(catalogue, made))
        with server(base) as (target, rest_port, pid):
            host, port = target.rsplit(":", 1)
            place = Place(host, int(port), rest_port, campaign.FIELDS)
            return campaign.run(place, pid, questions, count)
