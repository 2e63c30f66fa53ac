"""Eight good clients in a process of their own. They ask all the time and check each answer."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.client import Client

_PAUSE = 0.02
_TIMEOUT = 120.0
Song = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What a client asks, and the right answer, which does not come from a server.

    Attributes:
        song: One song.
        k: Its own number of matches.
        embedding: Of the song.
        ids: Of the `k` nearest songs.
        scores: Of these.
    """

    song: Song
    k: int
    embedding: np.ndarray[Any, Any]
    ids: list[str]
    scores: np.ndarray[Any, Any]

    def check(self, reply: dict[str, Any]) -> None:
        """Raises AssertionError for another answer than the right one."""
        if "embedding" in reply:
            np.testing.assert_allclose(reply["embedding"], self.embedding, rtol=1e-4, atol=1e-5)
            return
        assert list(reply["song_ids"])[: self.k] == self.ids, (reply["song_ids"], self.ids)
        np.testing.assert_allclose(reply["scores"][: self.k], self.scores, rtol=1e-4, atol=1e-5)


@dataclass
class Waits:
    """What the clients saw.

    Attributes:
        seconds: When each request was sent, how long it took, and over what.
        failures: What went wrong.
    """

    seconds: list[tuple[float, float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def longest(self, start: float, count: int = 5) -> list[tuple[float, float, str]]:
        """Returns the longest waits: seconds after `start`, seconds, and over what."""
        asked = [(round(sent - start, 1), round(took, 2), over) for sent, took, over in self.seconds if sent >= start]
        return sorted(asked, key=lambda one: -one[1])[:count]

    def worst(self, start: float = 0.0, end: float = float("inf")) -> float:
        """Returns the longest wait of a request that was open between two times."""
        return max((took for sent, took, _ in self.seconds if sent < end and sent + took > start), default=0.0)


def _over_grpc(target: str, question: Question, is_match: bool) -> Callable[[], dict[str, Any]]:
    client = Client(target, timeout=_TIMEOUT)

    def ask() -> dict[str, Any]:
        if not is_match:
            return {"embedding": client.embed([question.song])[0]}
        ids, scores = client.match([question.song], k=question.k)
        return {"song_ids": ids[0], "scores": scores[0]}

    return ask


def _over_rest(host: str, port: int, question: Question, is_match: bool, is_new: bool) -> Callable[[], dict[str, Any]]:
    """Returns what asks, on one connection or on a new one each time."""
    row = question.song | ({"k": question.k} if is_match else {})
    body = json.dumps({"signature_name": "match" if is_match else "embed", "instances": [row]})
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)

    def ask() -> dict[str, Any]:
        # As every HTTP library does: a connection that the server has closed is not used again.
        is_closed = connection.sock is not None and bool(select.select([connection.sock], [], [], 0)[0])
        if is_new or is_closed:
            connection.close()
        connection.request("POST", "/v1/models/bcl:predict", body)
        reply = connection.getresponse()
        text = reply.read()
        assert reply.status == 200, (reply.status, text)
        return dict(json.loads(text)["predictions"][0])

    return ask


def _ask_on(ask: Callable[[], dict[str, Any]], question: Question, stop: Any, waits: Waits, over: str) -> None:
    while not stop.is_set():
        sent = time.time()
        try:
            question.check(ask())
        except Exception as error:
            waits.failures.append(f"{type(error).__name__}: {error}"[:300])
        waits.seconds.append((sent, time.time() - sent, over))
        time.sleep(_PAUSE)


def _run(host: str, port: int, rest_port: int, questions: list[Question], stop: Any, pipe: Any) -> None:
    waits = Waits()
    threads = []
    for number, question in enumerate(questions):
        is_match = number % 2 == 0
        is_grpc, is_new = number < len(questions) // 2, number >= len(questions) - 2
        over = "gRPC" if is_grpc else "REST, a new connection" if is_new else "REST"
        if is_grpc:
            ask = _over_grpc(f"{host}:{port}", question, is_match)
        else:
            ask = _over_rest(host, rest_port, question, is_match, is_new=is_new)
        threads.append(threading.Thread(target=_ask_on, args=(ask, question, stop, waits, over)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send(waits)


@contextmanager
def good_clients(host: str, port: int, rest_port: int, questions: list[Question]) -> Iterator[Callable[[], Waits]]:
    """Runs a client for each question, half of them over REST; yields what ends them and returns what they saw."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(host, port, rest_port, questions, stop, theirs))
    process.start()
    theirs.close()  # so that the end of the process is noticed

    def end() -> Waits:
        stop.set()
        waits = ours.recv()
        assert isinstance(waits, Waits)
        return waits

    try:
        yield end
    finally:
        stop.set()
        process.join(_TIMEOUT)
        process.kill()
