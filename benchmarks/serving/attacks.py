"""What the attacks cost that once took a server down: time, processor, memory, and what good clients wait."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow_serving.apis import model_management_pb2

from benchmarks.serving.servers import server
from benchmarks.serving.songs_index import DIMENSION, export_index
from tests.serving.fuzz import predict_request
from tests.serving.hostile import campaign
from tests.serving.hostile.good_clients import good_clients
from tests.serving.hostile.kinds import PREDICT, RELOAD, Kind, Place

_REST_SONGS, _INDEX_SONGS = 20_000, 1_000_000
_ROWS, _AT_ONCE = 256, 32
_RELOADS, _RELOAD_SECONDS = 40, 5.0
_HALF_HEADERS = 1136
_KINDS = {kind.name: kind for kind in campaign.KINDS}
# A tensor's shape without values, and what else is sent, by the name of its kind.
_SINGLE = ("declared_shape", "millions_of_rows", "empty_rows", "empty_lists")


@dataclass
class _Cost:
    """What an attack costs a server.

    Attributes:
        answers: Their first two words.
        seconds: Until the last answer.
        cpu_seconds: Of the server.
        memory_mib: The most beyond what it had before.
        span: When it began and ended.
    """

    answers: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_mib: int = 0
    span: tuple[float, float] = (0.0, 0.0)

    def row(self) -> dict[str, Any]:
        """Returns what is printed."""
        return {name: value for name, value in vars(self).items() if name != "span"}


def attacks() -> dict[str, Any]:
    """Returns the cost of each attack."""
    return _small_requests() | _many_scores()


@contextmanager
def _measured(pid: int, answers: list[str]) -> Iterator[_Cost]:
    cost = _Cost()
    campaign.forget_peak(pid)
    before, cpu, start = campaign.resident_mib(pid), campaign.cpu_seconds(pid), time.time()
    yield cost
    cost.span = (start, time.time())
    cost.seconds = round(time.time() - start, 2)
    cost.cpu_seconds = round(campaign.cpu_seconds(pid) - cpu, 2)
    cost.memory_mib = round(campaign.peak_mib(pid) - before)
    cost.answers = dict(Counter(" ".join(answer.split()[:1]) for answer in answers))


def _small_requests() -> dict[str, Any]:
    from tests.serving import small_export

    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "bcl"
        catalogue = small_export.catalogue(_REST_SONGS)
        made = small_export.SmallExport(catalogue)
        made.export(base / "1")
        (base / "without_versions").mkdir()
        questions = campaign.questions_of(*campaign.known_songs(catalogue, made))
        with server(base, "--allow_reload=true") as (target, rest_port, pid):
            host, port = target.rsplit(":", 1)
            place = Place(host, int(port), rest_port, campaign.FIELDS)
            with good_clients(host, place.port, rest_port, questions) as end:
                time.sleep(2.0)
                costs = {kind: _one_by_one(place, pid, _KINDS[kind]) for kind in _SINGLE}
                costs["half_headers"] = _half_headers(place, pid)
                costs["waiting_reloads"] = _reloads(place, pid, base)
                waits = end()
    rows = {
        name: cost.row() | {"good_worst_seconds": round(waits.worst(*cost.span), 2)} for name, cost in costs.items()
    }
    return rows | {"good_failures": dict(Counter(waits.failures)), "good_requests": len(waits.seconds)}


def _one_by_one(place: Place, pid: int, kind: Kind, count: int = 3) -> _Cost:
    """Sends a few of a kind; the cost is that of the last one. The first ones come with what is made only once."""
    for number in range(count):
        answers: list[str] = []
        with _measured(pid, answers) as cost:
            answers.append(kind.send(place, random.Random(number)))
    return cost


def _half_headers(place: Place, pid: int) -> _Cost:
    answers: list[str] = []
    with _measured(pid, answers) as cost:
        for number in range(_HALF_HEADERS):
            answers.append(_KINDS["half_headers"].send(place, random.Random(number)))
        time.sleep(2.0)
    place.release()
    return cost


def _reloads(place: Place, pid: int, base: Path) -> _Cost:
    """Reloads that wait for a model without a version, all at once."""
    request = model_management_pb2.ReloadConfigRequest()
    for name, path in (("bcl", base), ("waits", base / "without_versions")):
        request.config.model_config_list.config.add(name=name, base_path=str(path), model_platform="tensorflow")
    return _at_once(pid, _RELOADS, partial(place.call, RELOAD, request.SerializeToString(), timeout=_RELOAD_SECONDS))


def _at_once(pid: int, count: int, send: Callable[[], str]) -> _Cost:
    answers: list[str] = []
    gate = threading.Barrier(count)

    def one(_: int) -> None:
        gate.wait()
        answers.append(send())

    with _measured(pid, answers) as cost, ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))
    return cost


def _many_scores() -> dict[str, Any]:
    """Many rows over a large index: one request, then many at once."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "bcl"
        vectors = export_index(base / "1", songs=_INDEX_SONGS)
        request = predict_request(query=vectors[:_ROWS], exclude=np.full(_ROWS, b"", object))
        request.model_spec.signature_name = "match"
        data = request.SerializeToString()
        assert vectors.shape == (_INDEX_SONGS, DIMENSION)
        del vectors
        with server(base) as (target, rest_port, pid):
            host, port = target.rsplit(":", 1)
            ask = partial(Place(host, int(port), rest_port, {}).call, PREDICT, data)
            ask()
            return {
                f"{_ROWS}_rows_over_{_INDEX_SONGS}_songs": _at_once(pid, 1, ask).row(),
                f"{_AT_ONCE}_of_them_at_once": _at_once(pid, _AT_ONCE, ask).row(),
            }
