"""Hostile requests over REST."""

from __future__ import annotations

import functools
import gzip
import json
import random
import zlib

from tests.serving.hostile.kinds import COSTLY, Kind, Place, kind, read_status, send_all

_PREDICT = "/v1/models/bcl:predict"
_HEAD = f"POST {_PREDICT} HTTP/1.1\r\nHost: x\r\n"
_CLOSED_OR_STATUS = r"^(closed|HTTP/1\.[01] [45]\d\d)"


@functools.cache
def _packed(start: bytes, part: bytes, count: int, end: bytes) -> bytes:
    return gzip.compress(start + part * count + end, 6)


@kind(r"^400 .*rest_api_max_json_lists|^400 .*max_request_rows")
def empty_rows(place: Place, rng: random.Random) -> str:
    """Two million rows without a field, in a few kilobytes: an object and a row of tensors for each."""
    return place.post(_PREDICT, _packed(b'{"instances": [', b"{},", 2_000_000, b"{}]}"), "gzip")


@kind(r"^400 .*rest_api_max_json_lists", most=COSTLY)
def empty_lists(place: Place, rng: random.Random) -> str:
    """Millions of empty lists, in a few kilobytes: a Python object for each."""
    return place.post(_PREDICT, _packed(b'{"instances": [', b"[],", 5_000_000, b"[]]}"), "gzip")


@kind(r"^413 .*rest_api_max_body_bytes")
def gzip_bomb(place: Place, rng: random.Random) -> str:
    """A body that unpacks to 256 MB."""
    return place.post(_PREDICT, _packed(b"", b" " * 1000, 256_000, b""), "gzip")


@functools.cache
def _deflated() -> bytes:
    return zlib.compress(b" " * 256_000_000, 1)


@kind(r"^413 .*rest_api_max_body_bytes")
def deflate_bomb(place: Place, rng: random.Random) -> str:
    """The same with deflate."""
    return place.post(_PREDICT, _deflated(), "deflate")


@kind(r"^400 .*rest_api_max_json_(depth|lists)")
def deep_json(place: Place, rng: random.Random) -> str:
    """Lists a million deep: a parser that calls itself ends the process."""
    depth = 30_000 if rng.randrange(2) else 1_000_000
    return place.post(_PREDICT, _packed(b'{"instances": ', b"[", depth, b"1" + b"]" * depth + b"}"), "gzip")


@kind(r"^400 .*max_request_values", most=COSTLY)
def many_numbers(place: Place, rng: random.Random) -> str:
    """A flat list of eight million numbers."""
    return place.post(_PREDICT, _packed(b'{"inputs": [', b"1,", 8_000_000, b"1]}"), "gzip")


@kind(r"^400 ", most=COSTLY)
def long_strings(place: Place, rng: random.Random) -> str:
    """Ten megabytes of words full of brackets and escapes, which a count of brackets must look into."""
    part = rng.choice([b'"[{[{[{",', b'"\\"[",', b'"\\u00e9[",'])
    return place.post(_PREDICT, _packed(b'{"instances": [', part, 10_000_000 // len(part), b'""]}'), "gzip")


@kind(r"^400 .*max_request_strings")
def one_long_list(place: Place, rng: random.Random) -> str:
    """One list of 20,000 words, to whose length the lists of a thousand rows would be padded."""
    long = json.dumps({"attribute_tags": ["w"] * 20_000})
    return place.post(_PREDICT, f'{{"signature_name": "embed", "instances": [{long}{",{}" * 1000}]}}'.encode())


@kind(_CLOSED_OR_STATUS + "|^open", most=2000)
def half_headers(place: Place, rng: random.Random) -> str:
    """A header that never ends: each holds a file descriptor."""
    return _leave_open(place, _HEAD.encode())


@kind(_CLOSED_OR_STATUS + "|^open", most=2000)
def half_bodies(place: Place, rng: random.Random) -> str:
    """A body that never ends: each holds a connection and what has come."""
    return _leave_open(place, f"{_HEAD}Content-Length: 100000\r\n\r\n".encode() + b"[" * 50_000)


@kind(_CLOSED_OR_STATUS + "|^open", most=3000)
def idle_rest_connections(place: Place, rng: random.Random) -> str:
    """Connections on which nothing is sent."""
    return _leave_open(place, b"")


def _leave_open(place: Place, data: bytes) -> str:
    plain = place.connect(place.rest_port)
    place.held.append(plain)
    send_all(plain, data)
    return "open"


@kind("^open", most=300)
def slow_readers(place: Place, rng: random.Random) -> str:
    """Replies of megabytes that nobody takes: each is memory until it is sent."""
    plain = place.connect(place.rest_port, receive_bytes=2048)
    place.held.append(plain)
    rows = json.dumps([place.fields | {"k": 200}] * 500)
    body = f'{{"signature_name": "match", "instances": {rows}}}'.encode()
    send_all(plain, f"{_HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return "open"


@kind(r"^(closed|HTTP/1\.1 413)", most=COSTLY)
def endless_body(place: Place, rng: random.Random) -> str:
    """Chunks without end, as fast as the server takes them."""
    plain = place.connect(place.rest_port)
    with plain:
        send_all(plain, f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"40000\r\n" + b"[" * 0x40000 + b"\r\n"
        for _ in range(200):
            if not send_all(plain, chunk):
                break
        return read_status(plain)


@kind(_CLOSED_OR_STATUS)
def endless_header(place: Place, rng: random.Random) -> str:
    """Headers without end, as fast as the server takes them."""
    plain = place.connect(place.rest_port)
    with plain:
        send_all(plain, _HEAD.encode())
        lines = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 100) for number in range(2000))
        for _ in range(200):
            if not send_all(plain, lines):
                break
        return read_status(plain)


@kind(_CLOSED_OR_STATUS)
def long_url(place: Place, rng: random.Random) -> str:
    """A path of megabytes, or one without an end."""
    plain = place.connect(place.rest_port)
    with plain:
        send_all(plain, b"GET /v1/models/" + b"x" * rng.choice([8000, 100_000, 5_000_000]))
        send_all(plain, b" HTTP/1.1\r\nHost: x\r\n\r\n")
        return read_status(plain)


@kind(r"^(closed|HTTP/1\.1 404)")
def pipelined(place: Place, rng: random.Random) -> str:
    """Thousands of requests on one connection before the first answer is read."""
    plain = place.connect(place.rest_port)
    with plain:
        send_all(plain, b"GET /v1/models/nope HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
        return read_status(plain)


@kind(r"^40[04] ")
def unknown_rest_names(place: Place, rng: random.Random) -> str:
    """Another long model name each time: a label of the metrics for each would be memory."""
    name = rng.randbytes(2000).hex()
    return place.post(rng.choice([f"/v1/models/{name}:predict", f"/v1/models/bcl/labels/{name}:predict"]), b"{}")


@kind("^left")
def leaves_rest(place: Place, rng: random.Random) -> str:
    """A large request whose client goes at once: nobody waits for its work."""
    body = json.dumps({"signature_name": "match", "instances": [place.fields | {"k": 100}] * 200}).encode()
    plain = place.connect(place.rest_port)
    place.held.append(plain)
    send_all(plain, f"{_HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    place.held.remove(plain)
    place_of_one = Place(place.host, place.port, place.rest_port, {}, [plain])
    place_of_one.release()
    return "left"


@kind(r"^200 |^400 .*max_request_matches", most=COSTLY)
def many_matches_rest(place: Place, rng: random.Random) -> str:
    """The most rows with the largest k, or the most that the bounds allow."""
    rows = [place.fields | {"k": rng.choice([128, 1000])}] * 1024
    return place.post(_PREDICT, json.dumps({"signature_name": "match", "instances": rows}).encode())


@kind(r"^401 |^4\d\d ")
def random_tokens(place: Place, rng: random.Random) -> str:
    """A token that nobody has."""
    plain = place.connect(place.rest_port)
    with plain:
        token = rng.randbytes(rng.choice([16, 2000])).hex()
        send_all(plain, f"{_HEAD}Authorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        return read_status(plain).removeprefix("HTTP/1.1 ")


OVER_REST: list[Kind] = [value for value in list(globals().values()) if isinstance(value, Kind)]
