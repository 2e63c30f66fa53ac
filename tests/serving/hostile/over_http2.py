"""Hostile requests as HTTP/2 frames, which a gRPC client would never send."""

from __future__ import annotations

import random
import socket
import struct

from tests.serving.hostile.kinds import PREDICT, Kind, Place, kind, send_all

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _CONTINUATION = 0, 1, 3, 4, 6, 9
_END_STREAM, _END_HEADERS, _PADDED_NONE = 1, 4, 0
_TAKEN = "^(open|closed|sent)"


def _frame(kind_: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind_, flags]) + struct.pack(">I", stream) + payload


def _header(name: str, value: str) -> bytes:
    """A header as HPACK writes one that is in no table."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def call_headers(stream: int, method: str = PREDICT) -> bytes:
    """The headers of a call, whose message is still to come."""
    pairs = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return _frame(_HEADERS, _END_HEADERS, stream, b"".join(_header(*pair) for pair in pairs.items()))


def greeted(place: Place, settings: bytes = b"", **how: int) -> socket.socket:
    """Returns a connection on which the greeting was sent. The place closes it."""
    plain = place.connect(place.port, **how)
    place.held.append(plain)
    send_all(plain, _PREFACE + _frame(_SETTINGS, 0, 0, settings))
    return plain


def data_frames(stream: int, data: bytes, *, whole: bool = True) -> bytes:
    """Returns the message of a call, or only its first half."""
    message = b"\x00" + struct.pack(">I", len(data)) + data
    if not whole:
        return _frame(_DATA, 0, stream, message[: len(message) // 2])
    parts = [message[start : start + 16_000] for start in range(0, len(message), 16_000)]
    ends = [0] * (len(parts) - 1) + [_END_STREAM]
    return b"".join(_frame(_DATA, end, stream, part) for end, part in zip(ends, parts, strict=True))


@kind(_TAKEN, most=3000)
def idle_grpc_connections(place: Place, rng: random.Random) -> str:
    """Connections on which nothing is sent after the greeting, or not even that."""
    if rng.randrange(2):
        greeted(place)
    else:
        place.held.append(place.connect(place.port))
    return "open"


@kind(_TAKEN, most=500)
def half_messages(place: Place, rng: random.Random) -> str:
    """Calls whose message never ends: each holds one of the threads that read messages."""
    plain = greeted(place)
    for stream in range(1, 21, 2):
        send_all(plain, call_headers(stream) + data_frames(stream, b"x" * 100, whole=False))
    return "open"


@kind(_TAKEN, most=500)
def calls_without_message(place: Place, rng: random.Random) -> str:
    """Calls of which only the headers come."""
    plain = greeted(place)
    for stream in range(1, 201, 2):
        send_all(plain, call_headers(stream))
    return "open"


@kind(_TAKEN, most=100)
def slow_grpc_readers(place: Place, rng: random.Random) -> str:
    """Replies of megabytes whose window stays shut: each is memory until it is sent."""
    from tests.serving.hostile.over_grpc import _match

    no_window = struct.pack(">HI", 4, 0)
    plain = greeted(place, no_window, receive_bytes=2048)
    data = _match(place, 200, 200)
    for stream in range(1, 11, 2):
        send_all(plain, call_headers(stream) + data_frames(stream, data))
    return "open"


@kind(_TAKEN)
def rapid_reset(place: Place, rng: random.Random) -> str:
    """A thousand calls that are cancelled as soon as they are open."""
    plain = greeted(place)
    frames = [call_headers(stream) + _frame(_RESET, 0, stream, struct.pack(">I", 8)) for stream in range(1, 2001, 2)]
    return "sent" if send_all(plain, b"".join(frames)) else "closed"


@kind(_TAKEN)
def endless_continuation(place: Place, rng: random.Random) -> str:
    """Headers that go on in frame after frame."""
    plain = greeted(place)
    send_all(plain, _frame(_HEADERS, 0, 1, _header(":method", "POST")))
    part = b"".join(_header(f"x-{number}", "v" * 100) for number in range(100))
    for _ in range(300):
        if not send_all(plain, _frame(_CONTINUATION, 0, 1, part)):
            return "closed"
    return "sent"


@kind(_TAKEN)
def pings(place: Place, rng: random.Random) -> str:
    """Pings and settings by the thousand, each of which asks for an answer that nobody reads."""
    plain = greeted(place, receive_bytes=2048)
    some = _frame(_PING, 0, 0, b"12345678") * 500 + _frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 500
    plain.settimeout(2.0)
    for _ in range(10):
        if not send_all(plain, some):
            return "closed"
    return "sent"


@kind(_TAKEN)
def broken_frames(place: Place, rng: random.Random) -> str:
    """Random frames after a right greeting, or no greeting at all."""
    plain = greeted(place)
    for _ in range(20):
        frame = _frame(rng.randrange(12), rng.randrange(256), rng.randrange(8), rng.randbytes(rng.randrange(100)))
        if not send_all(plain, frame):
            return "closed"
    return "sent"


OVER_HTTP2: list[Kind] = [value for value in list(globals().values()) if isinstance(value, Kind)]
