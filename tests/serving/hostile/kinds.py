"""What a kind of hostile request is, and what it has to send its requests with."""

from __future__ import annotations

import http.client
import random
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

PREDICT = "/tensorflow.serving.PredictionService/Predict"
CLASSIFY = "/tensorflow.serving.PredictionService/Classify"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
#: The most requests of a kind that takes a tenth of a second of a processor: thousands of others must fit into minutes.
COSTLY = 150
#: Seconds; a busy machine does not reach it.
LAST_RESORT = 600.0
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Place:
    """The server that is attacked.

    Attributes:
        host: Its address.
        port: Of gRPC.
        rest_port: Of REST.
        fields: A song with one value per raw field, in the form of a JSON row.
        held: Connections that a kind leaves open. They are closed after its last request.
    """

    host: str
    port: int
    rest_port: int
    fields: dict[str, object]
    held: list[socket.socket] = field(default_factory=list)

    def call(self, method: str, data: bytes, *, timeout: float = LAST_RESORT, compression: object = None) -> str:
        """Sends one message over gRPC on a connection of its own; returns the code and text of the answer."""
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"{self.host}:{self.port}", options, compression) as channel:
            try:
                channel.unary_unary(method)(data, timeout=timeout)
            except grpc.RpcError as error:
                return f"{error.code().name} {error.details()}"
            return "OK"

    def post(self, path: str, body: bytes, encoding: str | None = None) -> str:
        """Posts a body; returns the status and the text of the answer."""
        connection = http.client.HTTPConnection(self.host, self.rest_port, timeout=LAST_RESORT)
        headers = {} if encoding is None else {"Content-Encoding": encoding}
        try:
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            return f"{reply.status} {reply.read().decode(errors='replace')[:2000]}"
        finally:
            connection.close()

    def connect(self, port: int, *, receive_bytes: int | None = None) -> socket.socket:
        """Returns a plain connection; with a small buffer it takes little of a reply."""
        plain = socket.socket()
        if receive_bytes is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plain.settimeout(LAST_RESORT)
        plain.connect((self.host, port))
        return plain

    def release(self) -> None:
        """Closes what was left open, without a farewell."""
        for plain in self.held:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            plain.close()
        self.held.clear()


Send = Callable[[Place, random.Random], str]


@dataclass(frozen=True)
class Kind:
    """One kind of hostile request.

    Attributes:
        send: Sends one and returns the answer.
        answers: What the answer must match.
        most: The most that make sense in one run, such as connections that stay open.
    """

    send: Send
    answers: re.Pattern[str]
    most: int

    @property
    def name(self) -> str:
        """The name of the function that sends it."""
        return self.send.__name__


def kind(answers: str, *, most: int = 1_000_000) -> Callable[[Send], Kind]:
    """Returns a decorator that makes a Kind of a function."""
    return lambda send: Kind(send, re.compile(answers, re.DOTALL), most)


def read_status(plain: socket.socket) -> str:
    """Returns the status line of an HTTP/1 reply, or "closed" where none comes."""
    try:
        first = plain.recv(65536)
    except OSError:
        first = b""
    return first.split(b"\r\n")[0].decode(errors="replace") or "closed"


def send_all(plain: socket.socket, data: bytes) -> bool:
    """Sends bytes; returns whether the other side took them."""
    try:
        plain.sendall(data)
    except OSError:
        return False
    return True
