"""The limits of a request, of all requests together, and what a refusal says: one table for each protocol."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import random
import re
import resource
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, model_management_pb2

from serving.protocol import protos
from serving.protocol.errors import RequestError
from serving.protocol.tensors import to_proto
from serving.savedmodel.versions import why_unlisted
from serving.server import ServerFlags
from serving.server.grpc.requests import decoder
from serving.server.holdings import Holdings
from serving.server.inference.context import RunContext
from serving.server.limits import Bounds, Limits
from serving.server.memory import FreeMemory, resident_bytes, trimmer
from serving.server.metrics import Metrics
from serving.server.models.core import ServerCore
from serving.server.models.reload import Reloads
from serving.server.rest.bodies import Bodies, RefusedError, largest_unpacked, unpacked
from serving.server.rest.connections import connection_limit
from serving.server.rest.json_limits import JsonLimits, count, half_pair
from serving.server.rest.json_tensors import read_tensor
from serving.server.rest.songs import completed
from serving.server.wire import count_parts
from serving.server.work import Budget, Work

LIMITS = Limits(max_request_rows=10, max_request_values=100, max_request_strings=40)
STRING, FLOAT = 7, 1


def declared(dtype: int, *shape: int, name: str = "x") -> Any:
    """A request with a tensor that has a shape and no values: a few bytes that ask for much."""
    request = protos.PredictRequest()
    request.inputs[name].dtype = dtype
    for size in shape:
        request.inputs[name].tensor_shape.dim.add(size=size)
    return request


def sent(value: Any, name: str = "x") -> Any:
    request = protos.PredictRequest()
    to_proto(value, request.inputs[name])
    return request


def example(words: int) -> Any:
    message = tf.train.Example()
    message.features.feature["tags"].bytes_list.value.extend([b"w"] * words)
    return message


def serialized(*words: int) -> Any:
    return sent(np.array([example(count).SerializeToString() for count in words], object), "examples")


def packed(*words: int) -> Any:
    """The same with the strings in `tensor_content`, lengths first."""
    request = declared(STRING, len(words), name="examples")
    texts = [example(count).SerializeToString() for count in words]
    assert all(len(text) < 128 for text in texts)
    request.inputs["examples"].tensor_content = bytes(map(len, texts)) + b"".join(texts)
    return request


def listed(*words: int, context: int = 0) -> Any:
    request = classification_pb2.ClassificationRequest()
    target = request.input.example_list_with_context if context else request.input.example_list
    target.examples.extend([example(count) for count in words])
    if context:
        request.input.example_list_with_context.context.CopyFrom(example(context))
    return request


ROWS, VALUES, STRINGS = (
    "10 rows (--max_request_rows)",
    "100 values (--max_request_values)",
    "40 strings (--max_request_",
)
GRPC = [
    (declared(STRING, 100_000), ROWS, 100_000),
    (declared(FLOAT, 11), ROWS, 11),
    (declared(FLOAT, 10, 11), VALUES, 110),
    (declared(FLOAT, 1, 2**40, 2**40), VALUES, 2**80),
    (declared(STRING, 10, 5), STRINGS, 50),
    (sent(np.zeros((11, 1), np.float32)), ROWS, 11),
    (sent(np.full((1, 41), b"", object)), STRINGS, 41),
    (serialized(*[1] * 11), ROWS, 11),
    (serialized(1, 1, 1, 1, 11), STRINGS, 55),
    (packed(1, 1, 1, 1, 11), STRINGS, 55),
    (listed(*[1] * 11), ROWS, 11),
    (listed(1, 1, 1, 1, 11), STRINGS, 55),
    (listed(*[0] * 10, context=20), VALUES, None),
    (listed(*[0] * 5, context=11), STRINGS, 55),
]


@pytest.mark.parametrize(("request_", "limit", "received"), GRPC)
def test_a_request_over_grpc_is_refused_by_its_size(request_: Any, limit: str, received: int | None) -> None:
    with pytest.raises(RequestError) as caught:
        LIMITS.check(request_)
    assert f"expected at most {limit}" in caught.value.message
    assert caught.value.code.name == "INVALID_ARGUMENT"
    if received is not None:
        assert caught.value.message.endswith(f"Received: {received}")


@pytest.mark.parametrize(
    ("request_", "rows"),
    [
        (declared(FLOAT, 10, 10), 10),
        (declared(FLOAT), 1),
        (declared(FLOAT, 0, 2**62), 0),
        (declared(STRING, -1, 10), 0),
        (serialized(4, 4, 4, 4, 4, 4, 4, 4, 4, 4), 10),
        (sent(np.array([b"\xff" * 90], object), "examples"), 1),
        (packed(4, 4, 4), 3),
        (listed(4, 4), 2),
        (classification_pb2.ClassificationRequest(), 0),
    ],
)
def test_what_fits_is_counted_and_left_to_the_model(request_: Any, rows: int) -> None:
    assert LIMITS.check(request_) == rows


def test_zero_is_no_limit() -> None:
    none = Limits(0, 0, 0)
    assert none.check(declared(STRING, 100_000)) == 100_000
    assert none.check(serialized(*[100] * 20)) == 20
    none.check_body({"instances": [{}] * 5000})


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"instances": [{}] * 11}, "'instances'"),
        ({"examples": [{}] * 11}, "'examples'"),
        ({"inputs": [1] * 11}, "'inputs' of 'inputs'"),
        ({"inputs": {"k": [1], "audio_tempo": [None] * 11}}, "'audio_tempo' of 'inputs'"),
    ],
)
def test_rows_of_a_json_body(body: dict[str, Any], where: str) -> None:
    with pytest.raises(RequestError) as caught:
        LIMITS.check_body(body)
    assert caught.value.message == f"{where}: expected at most {ROWS}. Received: 11"


def test_one_long_list_of_words_does_not_widen_all_rows() -> None:
    signature = SimpleNamespace(
        inputs={
            "attribute_tags": SimpleNamespace(
                dtype=STRING, tensor_shape=SimpleNamespace(dim=[SimpleNamespace(size=-1)] * 2)
            )
        }
    )
    rows = [{"attribute_tags": ["w"] * 9}, *[{}] * 4]
    with pytest.raises(RequestError, match=r"attribute_tags, padded: expected at most 40 strings .* Received: 50"):
        completed({"instances": rows}, signature, LIMITS)
    assert len(completed({"instances": rows[:4]}, signature, LIMITS)["instances"]) == 4


JSON_LIMITS = JsonLimits(max_values=20, max_strings=10, max_lists=8, max_depth=4)
# Longer than what is counted by another way, and than one piece.
PADDINGS = [0, 70_000, 2**20 - 9]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[" + b"[]," * 7 + b"[]]", "at most 8 lists and objects (--rest_api_max_json_lists). Received: 9"),
        (b'{"instances": [' + b"{}," * 99 + b"{}]}", "at most 8 lists and objects"),
        (b"[[[[[1]]]]]", "at most 4 levels (--rest_api_max_json_depth). Received: 5"),
        (b"[[[[[", "at most 4 levels"),
        (b"[" + b"0," * 20 + b"0]", "at most 20 values (--max_request_values). Received: 21"),
        (b"[" + b'"a\\"",' * 10 + b'""]', "at most 10 strings (--max_request_strings). Received: 11"),
        (b"{" + b'":,": 1, ' * 10 + b'"": 1}', "at most 10 names (--max_request_strings). Received: 11"),
    ],
)
def test_a_json_body_is_refused_before_it_is_parsed(body: bytes, text: str, padding: int) -> None:
    with pytest.raises(RequestError) as caught:
        JSON_LIMITS.check(b" " * padding + body)
    assert f"JSON body: expected {text}" in caught.value.message


@pytest.mark.parametrize("padding", PADDINGS)
def test_brackets_and_commas_inside_strings_do_not_count(padding: int) -> None:
    text = "[{,\\" * 20 + '"'
    JSON_LIMITS.check(b" " * padding + json.dumps({"a": text, text: [1]}).encode())


def counted(value: Any, level: int = 1) -> dict[str, int]:
    """What is in a JSON value, by a walk through what Python's parser makes of it."""
    if not isinstance(value, (dict, list)):
        return {"values": 1, "strings": isinstance(value, str), "names": 0, "lists": 0, "depth": 0}
    inner = [counted(one, level + 1) for one in (value.values() if isinstance(value, dict) else value)]
    found = {name: sum(one[name] for one in inner) for name in ("values", "strings", "names", "lists")}
    found["names"] += len(value) if isinstance(value, dict) else 0
    found["lists"] += 1
    return found | {"depth": 1 + max((one["depth"] for one in inner), default=0)}


def any_value(rng: random.Random, level: int = 0) -> Any:
    texts = ["", "\\", '"', '\\"', "[{", ",:", "\\" * 5, "\N{MUSICAL NOTE}", "]}", "ü"]
    if level > 3 or rng.random() < 0.4:
        return rng.choice([None, True, 1.5, -3, "".join(rng.choices(texts, k=rng.randrange(5)))])
    some = range(rng.randrange(1, 5))
    if rng.random() < 0.5:
        return [any_value(rng, level + 1) for _ in some]
    return {f"{number}{rng.choice(texts)}": any_value(rng, level + 1) for number in some}


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 2**20])
def test_a_count_is_that_of_the_parsed_document(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the pieces are: a run of backslashes may go on in the next one."""
    monkeypatch.setattr("serving.server.rest.json_limits._PIECE", piece)
    rng = random.Random(piece)
    for _ in range(30):
        value = any_value(rng)
        for ascii_only in (True, False):
            found = count(json.dumps(value, ensure_ascii=ascii_only).encode())
            assert vars(found) == counted(value), value


HALVES = re.compile(r"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(u[dD][89a-fA-F]\w\w)|.)", re.DOTALL)


@pytest.mark.parametrize("piece", [1, 2, 5, 2**20])
def test_half_a_surrogate_pair_is_found(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.server.rest.json_limits._PIECE", piece)
    rng = random.Random(piece)
    parts = ["\\ud83c", "\\uDFB5", "\\ud83c\\udfb5", "\\\\", "ud83c", "\\n", "x", "\\u00e9", "\\ud7ff"]
    for weights in ([1] * 9, [0, 0, 3, 3, 3, 1, 1, 1, 1]):
        for _ in range(100):
            text = "".join(rng.choices(parts, weights, k=rng.randrange(12)))
            alone = next((escape.start() for escape in HALVES.finditer(text) if escape[1]), None)
            assert half_pair(text.encode()) == alone, text


def test_a_plain_list_of_numbers_is_read_as_one_array() -> None:
    np.testing.assert_array_equal(read_tensor([[1.5, 2], [3, float("nan")]], FLOAT), [[1.5, 2], [3, np.nan]])
    # These must be looked at one by one, and are refused as before.
    for value in (2**24, 1e39, True, "1", [1.0]):
        with pytest.raises(RequestError, match=r"JSON|list"):
            read_tensor([1.5, value], FLOAT)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_nothing_beyond_the_limit_is_unpacked(encoding: str) -> None:
    pack: Callable[[bytes], bytes] = gzip.compress if encoding == "gzip" else zlib.compress
    assert unpacked(pack(b" " * 1000), encoding, 1000) == b" " * 1000
    assert largest_unpacked(pack(b" " * 1000), encoding, 1000) == largest_unpacked(b" " * 1000, "", 9) == 1000
    million = pack(b" " * 1_000_000)
    assert largest_unpacked(million, encoding, 2_000_000) >= 1_000_000
    assert largest_unpacked(b" " * 1000, " Identity", 10**6) == 1000
    for body, status in (
        (pack(b" " * 1001), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (pack(b"x" * 900)[:-9], HTTPStatus.BAD_REQUEST),
        (b"not packed", HTTPStatus.BAD_REQUEST),
    ):
        with pytest.raises(RefusedError) as caught:
            unpacked(body, encoding, 1000)
        assert caught.value.status == status


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(RefusedError, match=r"expected one of deflate, gzip, x-gzip\. Received: br") as caught:
        unpacked(b"", "br", 10)
    assert caught.value.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Sent:
    """A body as aiohttp gives it."""

    def __init__(self, *parts: bytes, length: int | None = None) -> None:
        self._parts = [*parts, b""]
        self.content_length = length
        self.content = self
        self.headers: dict[str, str] = {}

    async def readany(self) -> bytes:
        return self._parts.pop(0)


def test_bodies_that_are_held_are_bounded_together() -> None:
    bodies = Bodies(max_body_bytes=10, max_held_bytes=15, timeout=1800)

    def status(request: Sent) -> int:
        with pytest.raises(RefusedError) as caught:
            asyncio.run(bodies.read(request))
        return caught.value.status

    held = asyncio.run(bodies.read(Sent(b"12345", b"678")))
    assert held == b"12345678"
    assert status(Sent(b"12345678")) == HTTPStatus.TOO_MANY_REQUESTS
    assert status(Sent(length=11)) == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    bodies.release(held)
    assert status(Sent(b"123456", b"78901")) == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    # What was refused is held no longer.
    assert len(asyncio.run(bodies.read(Sent(b"1234567890")))) == 10


def test_a_budget_lends_no_more_than_it_has_and_in_turn() -> None:
    budget = Budget(10, "rows")
    order: list[int] = []

    def run(amount: int) -> None:
        with budget.share(amount):
            order.append(amount)

    with budget.share(8):
        with (
            budget.share(2),
            pytest.raises(RequestError, match="waited 0 ms for 1 of 10 rows"),
            budget.share(1, Work(0)),
        ):
            pass
        threads = [threading.Thread(target=run, args=(99,))]
        threads[0].start()
        assert threads[0].is_alive() and not order
    threads[0].join()
    assert order == [99]
    with budget.share(10), Budget(0, "rows").share(5000):
        pass


def test_work_ends_with_its_time_and_its_client() -> None:
    Work().check()
    assert Work().left_ms() is None
    over = Work(0.0)
    with pytest.raises(RequestError, match="DEADLINE_EXCEEDED: expected the request to take at most 0 s"):
        over.check()
    left = Work(1800)
    left.check()
    left.leave()
    with pytest.raises(RequestError, match="CANCELLED: the client has left"):
        left.check()


def test_bounds_refuse_before_the_model_runs() -> None:
    ran: list[Any] = []
    run = Bounds(LIMITS, 4).around(lambda models, request, context: ran.append(context.work.left_ms()))
    with pytest.raises(RequestError, match="max_request_rows"):
        run(None, declared(STRING, 11), RunContext())
    run(None, declared(STRING, 9), RunContext())
    assert ran == [None]


def test_half_of_the_descriptors_stay_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, limit in ((1024, 300), (200, 100), (resource.RLIM_INFINITY, 300)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert connection_limit(300) == limit


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOENT, "Could not find base path /m for servable bcl"),
        (errno.EMFILE, "Could not list base path /m for servable bcl: Too many open files. Raise `ulimit -n`"),
        (errno.EACCES, "Could not list base path /m for servable bcl: Permission denied"),
    ],
)
def test_the_poll_tells_a_missing_folder_from_too_many_open_files(number: int, text: str) -> None:
    assert why_unlisted("/m", "bcl", OSError(number, os.strerror(number))).startswith(text)


class SlowCore:
    """Models whose reload waits until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)

    def reload(self, config: Any, wanted: Any) -> None:
        self.begun.release()
        self.go.wait()


def reload_request() -> Any:
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    return request


def test_at_most_four_reloads_wait() -> None:
    core = SlowCore()
    reloads = Reloads(cast(ServerCore, core), Metrics(), is_allowed=True)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(reloads.answer, reload_request()) for _ in range(4)]
        for _ in waiting:
            core.begun.acquire()
        with pytest.raises(RequestError, match="RESOURCE_EXHAUSTED: expected at most 4 reloads to run or wait"):
            reloads.answer(reload_request())
        core.go.set()
        assert [future.result().status.error_code for future in waiting] == [0] * 4
    assert reloads.answer(reload_request()).status.error_code == 0


def test_no_reload_without_the_flag() -> None:
    reloads = Reloads(cast(ServerCore, None), Metrics(), is_allowed=ServerFlags(model_base_path="/m").allow_reload)
    with pytest.raises(RequestError, match="PERMISSION_DENIED: HandleReloadConfigRequest: expected --allow_reload"):
        reloads.answer(reload_request())


def test_fields_of_a_message_are_counted_before_it_is_read() -> None:
    request = sent(np.array(["a", "b", "c"], object))
    data, kind = request.SerializeToString(), type(request).DESCRIPTOR
    # The entry, its key and value; in the value type, shape, two of the shape, and three strings.
    whole = count_parts(data, kind, most=1000).fields
    assert whole == 10
    assert count_parts(data * 1000, kind, most=50).fields == 51
    refused = decoder(type(request), max_parts=5)(data)
    assert refused.message.startswith("the message: expected at most 5 fields (--grpc_max_message_parts). Received: ")
    assert decoder(type(request), max_parts=whole)(data) == request
    # A number without an end is left to protobuf, which refuses it.
    assert count_parts(b"\xff" * 3_000_000, kind, most=1000).fields == 0
    assert decoder(type(request), max_parts=5)(b"\xff" * 1000).code.name == "INTERNAL"


def test_a_large_map_is_refused_before_it_is_read() -> None:
    """protobuf itself would read these 300,000 features for seconds."""
    features = tf.train.Example()
    for number in range(1500):
        features.features.feature[f"feature_{number}"].float_list.value.append(1)
    features.features.feature["long"].bytes_list.value.append(b"x" * 2**20)
    data = features.SerializeToString()
    assert count_parts(data, tf.train.Example.DESCRIPTOR, most=10**6).entries == 1501
    text = "expected at most 1024 inputs or features. Received: 1025 or more"
    with pytest.raises(RequestError, match=f"input examples: {text}"):
        Limits().check(sent(np.array([data], object), "examples"))
    request = protos.PredictRequest()
    for number in range(1025):
        request.inputs[f"input_{number}"].tensor_content = bytes(300)
    assert (
        decoder(protos.PredictRequest, max_parts=10**6)(request.SerializeToString()).message == f"the message: {text}"
    )
    del request.inputs["input_7"]
    assert decoder(protos.PredictRequest, max_parts=10**6)(request.SerializeToString()) == request


def test_who_waits_for_units_leaves_with_its_client() -> None:
    budget, work, seen = Budget(1, "rows"), Work(), []

    def wait() -> None:
        try:
            with budget.share(1, work):
                pass
        except RequestError as error:
            seen.append(error.code.name)

    with budget.share(1):
        waiting = threading.Thread(target=wait)
        waiting.start()
        work.leave()
        waiting.join()
    assert seen == ["CANCELLED"]


def test_the_oldest_gives_way_where_too_much_is_held() -> None:
    dropped: list[int] = []
    holdings = Holdings(10, 1800, "test")
    first = holdings.hold(6, lambda: dropped.append(1))
    holdings.hold(4, lambda: dropped.append(2))
    assert not dropped
    holdings.hold(5, lambda: dropped.append(3))
    assert dropped == [1]
    holdings.release(first)
    holdings.hold(2, lambda: dropped.append(4))
    assert dropped == [1, 2]
    holdings.stop()


def test_free_memory_is_given_back_where_the_process_has_grown() -> None:
    """The process has 100 MiB; what it has beyond is free."""
    sizes, trims = {"now": 100 * 2**20}, []

    def trim() -> None:
        trims.append(sizes["now"])
        sizes["now"] = 100 * 2**20

    memory = FreeMemory(trim, lambda: sizes["now"])
    assert memory.look()  # once after the start, which needs more than what stays
    assert not memory.look()
    sizes["now"] = 110 * 2**20
    assert not memory.look()
    sizes["now"] = 900 * 2**20
    assert memory.look() and not memory.look()
    assert trims == [100 * 2**20, 900 * 2**20]


def test_the_memory_of_this_process_is_told() -> None:
    before = resident_bytes()
    held = np.ones(64 * 2**20, np.uint8)
    assert resident_bytes() > before + len(held) // 2
    del held
    assert trimmer() is None or callable(trimmer())
