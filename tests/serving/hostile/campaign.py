"""All kinds of hostile requests against one server, beside good clients, with a look at what the server needs."""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.serving.hostile.good_clients import Question, good_clients
from tests.serving.hostile.kinds import Kind, Place
from tests.serving.hostile.over_grpc import OVER_GRPC
from tests.serving.hostile.over_http2 import OVER_HTTP2
from tests.serving.hostile.over_rest import OVER_REST

#: A song with a value for every field of a SmallExport.
FIELDS: dict[str, object] = {
    "attribute_genre": "rock",
    "attribute_tags": ["t", "t"],
    "audio_tempo": 0.5,
    "lyric_vector": [0.1, 0.2, 0.3],
}
KINDS: list[Kind] = [*OVER_GRPC, *OVER_HTTP2, *OVER_REST]
_SENDERS = 4
# How long connections that are held stay open after the last one.
_HELD_SECONDS = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Returns the memory of a process."""
    return _from_status(pid, "VmRSS")


def peak_mib(pid: int) -> float:
    """Returns the most memory that a process has had since `forget_peak`."""
    return _from_status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Lets the kernel measure the peak anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _from_status(pid: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found, name
    return int(found[1]) / 1024


def descriptors(pid: int) -> int:
    """Returns how many file descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    """Returns the processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass
class Seen:
    """What came of the requests of one kind."""

    count: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    cpu: float = 0.0
    peak: float = 0.0
    spans: list[tuple[float, float]] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def attack(place: Place, kind: Kind, count: int, seed: int, seen: Seen, senders: int = _SENDERS) -> None:
    """Sends `count` requests of a kind from some threads and writes down what came of them."""

    def send(number: int) -> None:
        start = time.time()
        try:
            answer = kind.send(place, random.Random(f"{kind.name} {seed} {number}"))
        except OSError as error:
            answer = f"closed {type(error).__name__}"
        seen.longest = max(seen.longest, time.time() - start)
        seen.count += 1
        seen.answers[" ".join(answer.split()[:2] if answer.startswith("HTTP") else answer.split()[:1])] += 1
        if not kind.answers.search(answer):
            seen.wrong.append(answer[:300])

    start = time.time()
    with ThreadPoolExecutor(senders) as pool:
        list(pool.map(send, range(min(count, kind.most))))
    if place.held:
        time.sleep(_HELD_SECONDS)
    place.release()
    seen.seconds += time.time() - start
    seen.spans.append((start, time.time()))


def questions_of(songs: Sequence[dict[str, Any]], embeddings: Any, ids: Sequence[str], index: Any) -> list[Question]:
    """Returns a question per song, each with a k of its own, and the answers by numpy."""
    asked = []
    for k, (song, embedding) in enumerate(zip(songs, embeddings, strict=True), start=3):
        scores = index @ embedding
        best = np.argsort(-scores, kind="stable")[:k]
        asked.append(Question(song, k, embedding, [ids[row] for row in best], scores[best]))
    return asked


def known_songs(catalogue: Sequence[dict[str, Any]], made: Any) -> tuple[Any, Any, Any, Any]:
    """Returns eight songs without missing values of a SmallExport, and what `questions_of` needs beside them."""
    songs = [song for song in catalogue if None not in song.values()][:8]
    raw = [{name: value for name, value in song.items() if name != "song_id"} for song in songs]
    return raw, made.embed(songs), made.ids, made.index


@contextmanager
def _baseline(pid: int) -> Iterator[list[float]]:
    """Measures the processor time per second that the good clients alone need."""
    rate: list[float] = []
    cpu, start = cpu_seconds(pid), time.time()
    yield rate
    rate.append((cpu_seconds(pid) - cpu) / (time.time() - start))


def run(
    place: Place,
    pid: int,
    questions: list[Question],
    count: int,
    *,
    kinds: Sequence[Kind] = KINDS,
    warm: int = 12,
    rounds: int = 3,
    quiet_seconds: float = 2.0,
) -> dict[str, Any]:
    """Sends `count` hostile requests, about as many of each kind, in some rounds; returns what was seen.

    Args:
        place: The server.
        pid: Its process.
        questions: What the good clients ask.
        count: Of all hostile requests.
        kinds: Of requests.
        warm: Requests of each kind in the round after which memory is first measured.
        rounds: In how many parts each kind's requests are sent.
        quiet_seconds: How long the good clients are alone before and after.
    """
    seen = {kind.name: Seen() for kind in kinds}
    with good_clients(place.host, place.port, place.rest_port, questions) as end:
        for kind in kinds:
            attack(place, kind, warm, 0, Seen())
        time.sleep(quiet_seconds)
        with _baseline(pid) as rate:
            time.sleep(quiet_seconds)
        before, began = (resident_mib(pid), descriptors(pid)), time.time()
        shares = _shares(kinds, count)
        for number in range(rounds):
            for kind in kinds:
                _measured(place, pid, kind, -(-shares[kind.name] // rounds), number + 1, seen[kind.name], rate[0])
        time.sleep(2 * quiet_seconds)
        after = (resident_mib(pid), descriptors(pid))
        waits = end()
    return {
        "seconds": round(time.time() - began),
        "requests": sum(one.count for one in seen.values()),
        "good_requests": len(waits.seconds),
        "good_failures": len(waits.failures),
        "good_failed_with": dict(Counter(waits.failures).most_common(5)),
        "good_worst_seconds": round(waits.worst(began), 2),
        "good_longest": waits.longest(began),
        "memory_mib": [round(before[0]), round(after[0])],
        "memory_growth": round(after[0] / before[0] - 1, 3),
        "descriptors": [before[1], after[1]],
        "wrong_answers": {name: one.wrong[:2] for name, one in seen.items() if one.wrong},
        "kinds": {
            name: {
                "count": one.count,
                "answers": dict(one.answers),
                "seconds": round(one.seconds, 1),
                "longest_seconds": round(one.longest, 2),
                "cpu_ms_each": round(one.cpu / max(one.count, 1) * 1e3, 1),
                "peak_mib": round(one.peak),
                "good_worst_seconds": round(max(waits.worst(*span) for span in one.spans), 2),
            }
            for name, one in seen.items()
        },
    }


def _shares(kinds: Sequence[Kind], count: int) -> dict[str, int]:
    """Returns how many requests of each kind make `count`, where some kinds take only a few."""
    shares, left = {}, count
    for number, kind in enumerate(sorted(kinds, key=lambda kind: kind.most)):
        shares[kind.name] = min(kind.most, -(-left // (len(kinds) - number)))
        left -= shares[kind.name]
    return shares


def _measured(place: Place, pid: int, kind: Kind, count: int, seed: int, seen: Seen, rate: float) -> None:
    forget_peak(pid)
    cpu, start = cpu_seconds(pid), time.time()
    attack(place, kind, count, seed, seen)
    seen.cpu += max(0.0, cpu_seconds(pid) - cpu - rate * (time.time() - start))
    seen.peak = max(seen.peak, peak_mib(pid))
