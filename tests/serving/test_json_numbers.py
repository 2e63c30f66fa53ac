"""Lists of numbers in JSON bodies: read at once, with the very outcome of reading them one by one."""

from __future__ import annotations

import json
import random
import tracemalloc
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from serving.protocol.errors import RequestError
from serving.protocol.protos import DATA_TYPES
from serving.server.inference.context import RunContext
from serving.server.limits import Bounds, Limits
from serving.server.metrics import Metrics
from serving.server.rest import json_numbers
from serving.server.rest.handlers import RestHandlers
from serving.server.rest.json_document import parse_lifted, parse_object
from serving.server.rest.json_limits import JsonLimits
from serving.server.rest.json_numbers import lift

WIDTH = 12


@pytest.fixture(autouse=True)
def bodies_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_numbers, "SHORTEST_BODY", 0)
    monkeypatch.setattr(json_numbers, "_PIECE", 50)


def read_numbers(text: bytes) -> Any:
    return json_numbers.read_numbers(b"5" + text + b"5", 1, len(text) + 1)


def _input(type_name: str, *sizes: int) -> SimpleNamespace:
    dims = [SimpleNamespace(size=size) for size in (-1, *sizes)]
    return SimpleNamespace(dtype=DATA_TYPES[type_name], tensor_shape=SimpleNamespace(dim=dims))


SIGNATURES = {
    "one": {"x": _input("DT_FLOAT", WIDTH)},
    "double": {"x": _input("DT_DOUBLE", WIDTH)},
    "whole": {"x": _input("DT_INT64", WIDTH)},
    "two": {"query": _input("DT_FLOAT", WIDTH), "exclude": _input("DT_STRING")},
    "songs": {
        "audio_tempo": _input("DT_FLOAT"),
        "attribute_tags": _input("DT_STRING", -1),
        "lyric_vector": _input("DT_FLOAT", WIDTH),
        "exclude": _input("DT_STRING"),
    },
}


class _Models:
    @contextmanager
    def lease(self, model_spec: Any) -> Any:
        signatures = {name: SimpleNamespace(inputs=inputs) for name, inputs in SIGNATURES.items()}
        yield SimpleNamespace(servable=SimpleNamespace(signatures=signatures))


HANDLERS = RestHandlers(
    _Models(),  # type: ignore[arg-type]
    RunContext(),
    Metrics(),
    bounds=Bounds(Limits(max_request_rows=30, max_request_strings=40), 100),
    json_limits=JsonLimits(max_values=2000, max_lists=200, max_depth=8),
)


def outcome(body: bytes, *, at_once: bool) -> Any:
    """What a body becomes: the request and the reply's format, or the error."""
    request = predict_pb2.PredictRequest()
    try:
        if at_once:
            form = HANDLERS._read(request, body)
        else:
            HANDLERS._json_limits.check(body)
            form = HANDLERS._fill(request, parse_object(body))
    except RequestError as error:
        return error.code, error.message
    except UnicodeEncodeError as error:  # for a name; the caller words it
        return str(error), error.object
    return form, request.SerializeToString(deterministic=True)


PLAIN = [
    "0.25",
    "-1.5",
    "1e-05",
    "2.5E+3",
    "7",
    "0",
    "-12",
    "0.1234567890123456789",
    "-0.0",
    "16777215",
    "1e-400",
    "0e0",
]
ODD = [
    "-0",
    "01",
    "-01",
    "1.",
    ".5",
    "+1",
    "--1",
    "1e",
    "1e5e5",
    "1.2.3",
    "1e5.5",
    "NaN",
    "-Infinity",
    "1e400",
    "16777216",
]
ODD += [
    "16777216.0",
    "1e39",
    "123456789012345678901",
    "null",
    "true",
    '"a"',
    "",
    "[1]",
    "{}",
    "1 2",
    "0x1",
    "1_0",
    " 3 ",
]
SPACES = ["", "", "", " ", " ", "\n"]


class Documents:
    """Random bodies. Some are broken."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.odd = self.random.choice([0, 0, 0, 0, 0.01, 0.1])
        self.space = self.random.choice(SPACES)

    def numbers(self, width: int) -> str:
        tokens = [self.random.choice(ODD if self.random.random() < self.odd else PLAIN) for _ in range(width)]
        return f"[{(',' + self.space).join(tokens)}]"

    def width(self) -> int:
        return WIDTH if self.random.random() > self.odd else self.random.randrange(2 * WIDTH)

    def vector(self) -> str:
        return "null" if self.random.random() < self.odd else self.numbers(self.width())

    def rows(self, one: Any, count: int) -> str:
        return f"[{(',' + self.space).join(one() for _ in range(count))}]"

    def song(self) -> str:
        parts = {"audio_tempo": "1.5", "lyric_vector": self.vector(), "exclude": '"[1, 2]"', "attribute_tags": '["a"]'}
        names = [name for name in parts if self.random.random() > 0.2]
        return "{" + ", ".join(f'"{name}": {parts[name]}' for name in names) + "}"

    def named(self) -> str:
        return f'{{"x": {self.vector()}}}'

    def body(self) -> bytes:
        count, name = self.random.randrange(1, 10), self.random.choice([*SIGNATURES])
        matrix, words = self.rows(self.vector, count), self.rows(lambda: '"s,[\\\\"', count)
        column = "lyric_vector" if name == "songs" else self.random.choice(["query", "x"])
        tempos = self.numbers(count)
        content = self.random.choice(
            [
                f'"instances": {matrix}',
                f'"inputs": {matrix}',
                f'"instances": {self.numbers(WIDTH * 3)}',
                f'"instances": {self.rows(self.song, count)}',
                f'"instances": {self.rows(self.named, count)}',
                f'"inputs": {{"{column}": {matrix}, "exclude": {words}}}',
                f'"inputs": {{"{column}": {matrix}, "audio_tempo": {tempos}}}',
                f'"inputs": {{"audio_tempo": {self.numbers(WIDTH)}}}',
                f'"instances": {matrix}, "inputs": {matrix}',
            ]
        )
        text = bytearray(f'{{"signature_name": "{name}", {content}}}'.encode())
        for _ in range(self.random.choice([0, 0, 0, 1, 2])):
            place = self.random.randrange(len(text))
            text[place : place + self.random.choice([0, 1, 1])] = self.random.choice(
                [b"", b",", b"[", b"]", b"-", b"0", b"5", b".", b"e", b'"', b"\\", b" ", b"\xff", b"{", b"+"]
            )
        return bytes(text)


def test_the_outcome_is_that_of_reading_one_by_one() -> None:
    """Over documents of many forms, plain, odd and broken."""
    lifted = filled = 0
    for seed in range(4000):
        body = Documents(seed).body()
        expected = outcome(body, at_once=False)
        assert outcome(body, at_once=True) == expected, body
        lifted += lift(body) is not None
        filled += expected[0] in ("row", "column")
    # The comparison means something: many are read at once, and many are accepted.
    assert lifted > 500 and filled > 400


@pytest.mark.parametrize("token", [*PLAIN, *ODD])
def test_each_token_is_read_as_python_reads_it_or_not_at_all(token: str) -> None:
    found = read_numbers(f"[1,{token},-2.5]".encode())
    if found is None:
        assert token in ODD
    else:
        expected = np.array(json.loads(f"[1,{token},-2.5]"), np.float64)
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "text",
    [b"[1,2],[3]", b"[[1],2]", b"[1,[2]]", b"[[1],[2,3]]", b"[[[1]]]", b"[[1],[2]", b"[1]]", b"[]", b"[[]]", b"[1,]"],
)
def test_other_lists_are_left_alone(text: bytes) -> None:
    assert read_numbers(text) is None


@pytest.mark.parametrize("before", [b"5", b"-", b"1e"])
def test_a_list_does_not_join_the_digits_before_it(before: bytes) -> None:
    body = b'{"instances": %s[%s]}' % (before, b"1.5," * 20 + b"1.5")
    assert parse_lifted(body) is None


@pytest.mark.parametrize("separator", [",", ", "])
def test_lists_of_any_length_are_read_in_pieces(separator: str) -> None:
    numbers = np.random.default_rng(0).normal(size=(40, 30))
    text = json.dumps(numbers.tolist(), separators=(separator, ":")).encode()
    found, flat = read_numbers(text), read_numbers(json.dumps(numbers.ravel().tolist()).encode())
    assert found is not None and found.shape == numbers.shape and found.tobytes() == numbers.tobytes()
    assert flat is not None and flat.tobytes() == numbers.tobytes()
    # A place in the last piece that no check but numpy's own can see, and rows of two lengths in two pieces.
    assert read_numbers(text[:-2] + b",1.2.3]]") is None
    assert read_numbers(text[:-2] + b",1.5]]") is None


def test_short_bodies_are_left_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"a": [%s]}' % (b"1.5," * 20_000 + b"1.5")
    monkeypatch.undo()
    assert parse_lifted(body) is not None and parse_lifted(body.replace(b"1.5,", b"1,", 10_000)) is None


def test_only_long_lists_in_bodies_of_numbers() -> None:
    numbers = b"1.5," * 20 + b"1.5"
    assert lift(b'{"a": [%s]}' % numbers) is not None
    assert lift(b'{"a": [1.5,2.5]}') is None
    assert lift(b'{"a": "[%s]"}' % numbers) is None  # inside a string
    assert lift(b'{"a": "[%s]' % numbers) is None  # a string without an end
    assert lift(b'{"a": [%s], "b": 27182818284590450}' % numbers) is None


def test_no_object_for_each_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    rows, width = 1000, 1000
    body = b'{"inputs": [%s]}' % b",".join([b"[" + b",".join([b"0.12345678"] * width) + b"]"] * rows)
    tracemalloc.start()
    document = parse_lifted(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert document is not None and document["inputs"].shape == (rows, width)
    # The array takes 8 bytes, and a piece of the text is little. A Python float in a list takes 32.
    assert peak < 12 * rows * width
